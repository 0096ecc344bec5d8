//go:build ignore

// Command sbom prints what a Go program is made of, as "go version -m" knows it, in
// the form of CycloneDX 1.5 (https://cyclonedx.org/docs/1.5/json/): the modules with
// their versions and package URLs, and the Go release that built it. It holds no time
// and no random number: the same program gives the same bytes.
//
//	go run .ci/sbom.go PROGRAM RELEASE > PROGRAM.cdx.json
package main

import (
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
)

type document struct {
	Format     string      `json:"bomFormat"`
	Spec       string      `json:"specVersion"`
	Version    int         `json:"version"`
	Metadata   metadata    `json:"metadata"`
	Components []component `json:"components"`
	Needs      []needs     `json:"dependencies"`
}

type metadata struct {
	Component  component  `json:"component"`
	Properties []property `json:"properties"`
}

type component struct {
	Type    string `json:"type"`
	Ref     string `json:"bom-ref"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl"`
	// what go.sum has of the module, which is no checksum of an archive
	Properties []property `json:"properties,omitempty"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type needs struct {
	Ref  string   `json:"ref"`
	Need []string `json:"dependsOn"`
}

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("usage: sbom PROGRAM RELEASE"))
	}
	info, err := buildinfo.ReadFile(os.Args[1])
	if err != nil {
		fail(err)
	}
	enc := json.NewEncoder(os.Stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(describe(info, os.Args[2])); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "sbom:", err)
	os.Exit(1)
}

func describe(info *debug.BuildInfo, release string) document {
	program := purl(info.Main.Path, release)
	d := document{Format: "CycloneDX", Spec: "1.5", Version: 1, Components: []component{
		{Type: "library", Ref: purl("std", strings.TrimPrefix(info.GoVersion, "go")), Name: "std",
			Version: strings.TrimPrefix(info.GoVersion, "go"), PURL: purl("std", strings.TrimPrefix(info.GoVersion, "go"))},
	}}
	d.Metadata.Component = component{Type: "application", Ref: program, Name: info.Main.Path, Version: release, PURL: program}
	d.Metadata.Properties = []property{}
	for _, s := range info.Settings {
		d.Metadata.Properties = append(d.Metadata.Properties, property{"go:" + s.Key, s.Value})
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		d.Components = append(d.Components, component{Type: "library", Ref: purl(m.Path, m.Version), Name: m.Path,
			Version: m.Version, PURL: purl(m.Path, m.Version), Properties: sum(m.Sum)})
	}
	all := needs{Ref: program, Need: []string{}}
	for _, c := range d.Components {
		all.Need = append(all.Need, c.Ref)
	}
	d.Needs = []needs{all}
	return d
}

func purl(path, version string) string { return "pkg:golang/" + path + "@" + version }

// sum gives the h1 hash of a module: the SHA-256 of the list of its files' hashes.
func sum(h1 string) []property {
	b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(h1, "h1:"))
	if err != nil || len(b) == 0 {
		return nil
	}
	return []property{{"go:h1", hex.EncodeToString(b)}}
}
