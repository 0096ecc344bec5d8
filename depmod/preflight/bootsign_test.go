//go:build unix

package preflight

import (
	"bytes"
	"os"
	"path/filepath"

	"github.com/kstage/kstage/internal/kotest"
)

// signatureCases are about the end of a signed file. They are tried with and without
// enforcement.
func signatureCases() []bootCase {
	sign := func(s kotest.Signature) func(*moduleSpec) {
		return func(m *moduleSpec) { m.Signature = &s }
	}
	garbage := []byte("no PKCS#7 at all")
	return []bootCase{
		{name: "unsigned"},
		{name: "sig_mark_only", change: func(b []byte) []byte { return append(b, signatureMark...) }},
		{name: "sig_only", change: func([]byte) []byte { return []byte(signatureMark) }},
		{name: "sig_tiny", change: func([]byte) []byte { return []byte("0123456789ab" + signatureMark) }},
		{name: "sig_mark_cut", change: func(b []byte) []byte { return append(b, signatureMark[:27]...) }},
		{name: "sig_mark_twice", change: func(b []byte) []byte { return append(b, signatureMark+signatureMark...) }},
		{name: "sig_type0", build: sign(kotest.Signature{Data: garbage})},
		{name: "sig_type1", build: sign(kotest.Signature{IDType: 1, Data: garbage})},
		{name: "sig_type3", build: sign(kotest.Signature{IDType: 3, Data: garbage})},
		{name: "sig_algo", build: sign(kotest.Signature{IDType: 2, Algo: 1, Data: garbage})},
		{name: "sig_hash", build: sign(kotest.Signature{IDType: 2, Hash: 4, Data: garbage})},
		{name: "sig_signer", build: sign(kotest.Signature{IDType: 2, Signer: []byte("me"), Data: garbage})},
		{name: "sig_key", build: sign(kotest.Signature{IDType: 2, KeyID: []byte("me"), Data: garbage})},
		{name: "sig_garbage", build: sign(kotest.Signature{IDType: 2, Data: garbage})},
		{name: "sig_empty", build: sign(kotest.Signature{IDType: 2})},
		{name: "sig_sequence", build: sign(kotest.Signature{IDType: 2, Data: []byte{0x30, 0x00}})},
		{name: "sig_type1_long", build: sign(kotest.Signature{IDType: 1}), change: func(b []byte) []byte {
			b[len(b)-len(signatureMark)-4] = 0x7f
			return b
		}},
		{name: "sig_too_long", build: sign(kotest.Signature{IDType: 2}), change: func(b []byte) []byte {
			b[len(b)-len(signatureMark)-4] = 0x7f
			return b
		}},
		{name: "sig_foreign", change: func(b []byte) []byte { return append(b, labSignature()...) }},
		{name: "sig_lab", module: "crc7", file: func(*bootKernel) []byte { return labSigned() }},
		{name: "sig_lab_vermagic", module: "crc7", file: func(*bootKernel) []byte {
			return bytes.Replace(labSigned(), []byte("vermagic=6."), []byte("vermagic=5."), 1)
		}},
		{name: "sig_lab_more", module: "crc7", file: func(*bootKernel) []byte { return append(labSigned(), 0) }},
		{name: "sig_lab_ignored", module: "crc7", file: func(*bootKernel) []byte { return labSigned() }, flags: IgnoreVermagic},
		{name: "sig_lab_damaged", module: "crc7", file: func(*bootKernel) []byte {
			b := labSigned()
			b[len(b)-len(signatureMark)-signatureInfo-10] ^= 1
			return b
		}},
		{name: "sig_lab_cut", module: "crc7", file: func(*bootKernel) []byte {
			b := labSigned()
			return b[:len(b)-len(labSignature())]
		}},
	}
}

// lockdownCases are a few: of what the log says of them there are ten lines in five
// seconds at most.
func lockdownCases() (cases []bootCase) {
	for _, c := range signatureCases() {
		switch c.name {
		case "unsigned", "sig_mark_only", "sig_garbage", "sig_foreign", "sig_lab", "sig_lab_cut", "sig_lab_more", "sig_lab_ignored":
			cases = append(cases, c)
		}
	}
	return cases
}

// labSigned is a module as the distribution signed it, which does nothing when it is
// loaded: crc7.
func labSigned() []byte {
	names, _ := filepath.Glob(filepath.Join(os.Getenv("KSTAGE_LAB"), "tree-plain/lib/modules/*/kernel/lib/crc7.ko"))
	if len(names) == 0 {
		panic("the lab has no crc7.ko")
	}
	b, err := os.ReadFile(names[0])
	if err != nil {
		panic(err)
	}
	return b
}

// labSignature is the end of labSigned, from the PKCS#7 data on.
func labSignature() []byte {
	b := labSigned()
	info := b[len(b)-len(signatureMark)-signatureInfo:]
	size := int(info[10])<<8 | int(info[11])
	return b[len(b)-len(signatureMark)-signatureInfo-size:]
}
