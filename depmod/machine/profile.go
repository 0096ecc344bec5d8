package machine

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/kstage/kstage/depmod/closure"
)

// profiles holds one list for each profile, as [closure.ParseList] reads it. The
// first line says what it is for.
//
//go:embed profiles/*.txt
var profiles embed.FS

// A Profile is a list of what some kind of machine, or of root file system, needs
// and no device tree tells.
type Profile struct {
	Name    string
	About   string // in a line
	Choices []closure.Choice
}

// Profiles returns all of them, by name.
func Profiles() []Profile {
	entries, err := profiles.ReadDir("profiles")
	if err != nil {
		panic(err) // it is part of the program
	}
	var all []Profile
	for _, e := range entries {
		all = append(all, readProfile(strings.TrimSuffix(e.Name(), ".txt")))
	}
	slices.SortFunc(all, func(a, b Profile) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func readProfile(name string) Profile {
	data, err := profiles.ReadFile(path.Join("profiles", name+".txt"))
	if err != nil {
		panic(err)
	}
	first, _, _ := strings.Cut(string(data), "\n")
	p := Profile{Name: name, About: strings.TrimPrefix(first, "# ")}
	if p.Choices, err = closure.ParseList("profile "+name, data); err != nil {
		panic(err)
	}
	return p
}

// FindProfile returns the profile of that name. Where there is none, the error
// names those there are.
func FindProfile(name string) (Profile, error) {
	var names []string
	for _, p := range Profiles() {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Profile{}, fmt.Errorf("there is no profile %q, only %s", name, strings.Join(names, ", "))
}
