package modinfo_test

import (
	"bytes"
	"cmp"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kstage/kstage/internal/kotest"
	"github.com/kstage/kstage/modinfo"
)

// der makes one DER value of the tag.
func der(tag byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	size := []byte{byte(len(body))}
	if len(body) >= 0x80 {
		size = bytes.TrimLeft(binary.BigEndian.AppendUint32(nil, uint32(len(body))), "\x00")
		size = append([]byte{0x80 | byte(len(size))}, size...)
	}
	return slices.Concat([]byte{tag}, size, body)
}

func seq(parts ...[]byte) []byte { return der(0x30, parts...) }
func set(parts ...[]byte) []byte { return der(0x31, parts...) }

func oid(dotted string) []byte {
	var id asn1.ObjectIdentifier
	for s := range strings.SplitSeq(dotted, ".") {
		n, err := strconv.Atoi(s)
		if err != nil {
			panic(err)
		}
		id = append(id, n)
	}
	b, err := asn1.Marshal(id)
	if err != nil {
		panic(err)
	}
	return b
}

const (
	idSigned     = "1.2.840.113549.1.7.2"
	idCommonName = "2.5.4.3"
	idOrg        = "2.5.4.10"
	idUnit       = "2.5.4.11"
)

// part is an attribute of a name, a string of that type.
func part(id string, tag byte, text string) []byte { return seq(oid(id), der(tag, []byte(text))) }

// cms are the parts of a SignedData with one signer; zero values are replaced by
// what is usual.
type cms struct {
	content, version, digest          string
	issuer, signer, signers           []byte
	serial, attributes, unsigned, sig []byte
	certificates, revoked             []byte
}

func or(b, otherwise []byte) []byte {
	if b == nil {
		return otherwise
	}
	return b
}

func (c cms) bytes() []byte {
	algorithm := func(id string) []byte { return seq(oid(id), []byte{5, 0}) }
	version := der(2, []byte(cmp.Or(c.version, "\x01")))
	issuer := or(c.issuer, seq(set(part(idCommonName, 12, "Signer"))))
	info := seq(version,
		or(c.signer, seq(issuer, der(2, or(c.serial, []byte{0x12, 0x34})))),
		algorithm(cmp.Or(c.digest, "2.16.840.1.101.3.4.2.1")),
		c.attributes, algorithm("1.2.840.113549.1.1.1"),
		or(c.sig, der(4, []byte{0xaa, 0xbb})), c.unsigned)
	data := seq(der(2, []byte{1}), set(algorithm("2.16.840.1.101.3.4.2.1")), seq(oid("1.2.840.113549.1.7.1")),
		c.certificates, c.revoked, or(c.signers, set(info)))
	return seq(oid(cmp.Or(c.content, idSigned)), der(0xa0, data))
}

// trailer is what ends a signed module.
type trailer struct {
	algo, hash, typ, signer, key byte
	size                         uint32 // 0: what there is
	sizeless                     bool   // size is really 0
}

func (tr trailer) sign(module, data []byte) []byte {
	size := tr.size
	if size == 0 && !tr.sizeless {
		size = uint32(len(data) - int(tr.signer) - int(tr.key))
	}
	b := slices.Concat(module, data, []byte{tr.algo, tr.hash, tr.typ, tr.signer, tr.key, 0, 0, 0})
	return append(binary.BigEndian.AppendUint32(b, size), "~Module signature appended~\n"...)
}

var pkcs7 = trailer{typ: 2}

// name makes an issuer of sets of parts.
func name(sets ...[]byte) []byte { return seq(sets...) }

// A signedCase is a signed module. want is what kmod 34.2 with OpenSSL shows, the
// five fields parted by bars; "" when it shows none.
type signedCase struct {
	name   string
	module []byte
	want   string
}

func signedCases(module []byte) []signedCase {
	long := bytes.Repeat([]byte{1}, 21)
	legacy := trailer{algo: 1, hash: 2, typ: 1}
	cases := []signedCase{
		{"PKCS#7", pkcs7.sign(module, cms{}.bytes()), "PKCS#7|Signer|12:34|sha256|AA:BB"},
		{"of several names the first common one", pkcs7.sign(module, cms{issuer: name(set(part(idOrg, 12, "org")),
			set(part(idCommonName, 12, "one")), set(part(idCommonName, 12, "two")), set(part(idUnit, 12, "unit")))}.bytes()), "PKCS#7|one|12:34|sha256|AA:BB"},
		{"no common name: the last part", pkcs7.sign(module, cms{issuer: name(set(part(idOrg, 12, "org")), set(part(idUnit, 12, "unit")))}.bytes()),
			"PKCS#7|unit|12:34|sha256|AA:BB"},
		{"several parts in one set", pkcs7.sign(module, cms{issuer: name(set(part(idOrg, 12, "org"), part(idCommonName, 12, "cn")))}.bytes()),
			"PKCS#7|cn|12:34|sha256|AA:BB"},
		{"empty name", pkcs7.sign(module, cms{issuer: name()}.bytes()), "PKCS#7||12:34|sha256|AA:BB"},
		{"empty set in a name", pkcs7.sign(module, cms{issuer: name(set())}.bytes()), "PKCS#7||12:34|sha256|AA:BB"},
		{"PrintableString", pkcs7.sign(module, cms{issuer: name(set(part(idCommonName, 19, "print")))}.bytes()), "PKCS#7|print|12:34|sha256|AA:BB"},
		{"TeletexString in Latin-1", pkcs7.sign(module, cms{issuer: name(set(part(idCommonName, 20, "\xe9")))}.bytes()), "PKCS#7|\xe9|12:34|sha256|AA:BB"},
		{"BMPString ends at its first zero", pkcs7.sign(module, cms{issuer: name(set(part(idCommonName, 30, "\x00A\x00B")))}.bytes()), "PKCS#7||12:34|sha256|AA:BB"},
		{"UTF8String with NUL", pkcs7.sign(module, cms{issuer: name(set(part(idCommonName, 12, "ab\x00cd")))}.bytes()), "PKCS#7|ab|12:34|sha256|AA:BB"},
		{"UTF8String that is none", pkcs7.sign(module, cms{issuer: name(set(part(idCommonName, 12, "ab\xff")))}.bytes()), ""},
		{"a BIT STRING as a name", pkcs7.sign(module, cms{issuer: name(set(part(idCommonName, 3, "\x00A")))}.bytes()), "PKCS#7|A|12:34|sha256|AA:BB"},
		{"an INTEGER as a name", pkcs7.sign(module, cms{issuer: name(set(part(idCommonName, 2, "A")))}.bytes()), ""},
		{"an OCTET STRING as a name", pkcs7.sign(module, cms{issuer: name(set(part(idCommonName, 4, "A")))}.bytes()), ""},
		{"serial 0", pkcs7.sign(module, cms{serial: []byte{0}}.bytes()), "PKCS#7|Signer||sha256|AA:BB"},
		{"serial 128", pkcs7.sign(module, cms{serial: []byte{0, 0x80}}.bytes()), "PKCS#7|Signer|80|sha256|AA:BB"},
		{"serial -1", pkcs7.sign(module, cms{serial: []byte{0xff}}.bytes()), "PKCS#7|Signer|01|sha256|AA:BB"},
		{"serial -129", pkcs7.sign(module, cms{serial: []byte{0xff, 0x7f}}.bytes()), "PKCS#7|Signer|81|sha256|AA:BB"},
		{"serial with needless zeros", pkcs7.sign(module, cms{serial: []byte{0, 0, 1}}.bytes()), ""},
		{"serial without bytes", pkcs7.sign(module, cms{serial: []byte{}}.bytes()), ""},
		{"twenty bytes a line", pkcs7.sign(module, cms{serial: long}.bytes()),
			"PKCS#7|Signer|" + strings.Repeat("01:", 20) + "\n\t\t01|sha256|AA:BB"},
		{"key identifier", pkcs7.sign(module, cms{version: "\x03", signer: der(0x80, []byte{1, 2})}.bytes()), ""},
		{"no signer", pkcs7.sign(module, cms{signers: set()}.bytes()), ""},
		{"not signed data", pkcs7.sign(module, cms{content: "1.2.840.113549.1.7.3"}.bytes()), ""},
		{"signed and unsigned attributes, empty certificates", pkcs7.sign(module, cms{certificates: der(0xa0), revoked: der(0xa1),
			attributes: der(0xa0, seq(oid("1.2.840.113549.1.9.4"), set(der(4, []byte("h"))))),
			unsigned:   der(0xa1, seq(oid("1.2.840.113549.1.9.4"), set(der(4, []byte("h")))))}.bytes()), "PKCS#7|Signer|12:34|sha256|AA:BB"},
		{"empty signature", pkcs7.sign(module, cms{sig: der(4)}.bytes()), "PKCS#7|Signer|12:34|sha256|"},
		{"junk behind the structure", pkcs7.sign(module, append(cms{}.bytes(), "junk"...)), "PKCS#7|Signer|12:34|sha256|AA:BB"},
		{"cut-off structure", pkcs7.sign(module, cms{}.bytes()[:80]), ""},
		{"garbage", pkcs7.sign(module, []byte("garbage")), ""},
		{"signer and key before PKCS#7", trailer{typ: 2, signer: 1, key: 2}.sign(module, append([]byte("SKK"), cms{}.bytes()...)), "PKCS#7|Signer|12:34|sha256|AA:BB"},
		{"algorithm and hash do not matter", trailer{algo: 1, hash: 8, typ: 2}.sign(module, cms{}.bytes()), "PKCS#7|Signer|12:34|sha256|AA:BB"},
		{"algorithm 2", trailer{algo: 2, typ: 2}.sign(module, cms{}.bytes()), ""},
		{"hash 9", trailer{hash: 9, typ: 2}.sign(module, cms{}.bytes()), ""},
		{"type 3", trailer{typ: 3}.sign(module, cms{}.bytes()), ""},
		{"length 0", trailer{typ: 2, sizeless: true}.sign(module, nil), ""},
		{"longer than the file", trailer{typ: 2, size: 1<<32 - 1}.sign(module, nil), ""},
		{"as long as the file", trailer{typ: 1, size: uint32(len(module))}.sign(nil, module), "X509|||md4|" + hex20(module)},
		{"one longer than the file", trailer{typ: 1, size: uint32(len(module)) + 1}.sign(nil, module), ""},
		{"key beyond the file", trailer{typ: 1, key: 1, size: uint32(len(module))}.sign(nil, module), ""},
		{"no newline at the end", bytes.TrimSuffix(pkcs7.sign(module, cms{}.bytes()), []byte("\n")), ""},
		{"a byte behind", append(pkcs7.sign(module, cms{}.bytes()), '\n'), ""},
		{"the last of two", pkcs7.sign(pkcs7.sign(module, cms{}.bytes()), cms{serial: []byte{9}}.bytes()), "PKCS#7|Signer|09|sha256|AA:BB"},
		{"PGP", trailer{algo: 1, hash: 4, signer: 3, key: 2}.sign(module, []byte("SGN\x01\x02\xee\xff")), "PGP|SGN|01:02|sha256|EE:FF"},
		{"X509", trailer{hash: 6, typ: 1, signer: 3, key: 2}.sign(module, []byte("SGN\x01\x02\xee\xff")), "X509|SGN|01:02|sha512|EE:FF"},
		{"no signer, no key", legacy.sign(module, []byte{0xee}), "X509|||sha1|EE"},
		{"signer with NUL", trailer{typ: 1, signer: 4}.sign(module, []byte("A\x00BC\x01")), "X509|A||md4|01"},
		{"exactly twenty bytes", trailer{typ: 1, key: 20}.sign(module, bytes.Repeat([]byte{0x11}, 40)),
			"X509||" + strings.TrimSuffix(strings.Repeat("11:", 20), ":") + "|md4|" + strings.TrimSuffix(strings.Repeat("11:", 20), ":")},
	}
	for hash, want := range []string{"md4", "md5", "sha1", "rmd160", "sha256", "sha384", "sha512", "sha224", "sm3"} {
		cases = append(cases, signedCase{"legacy hash " + want, trailer{hash: byte(hash), typ: 1}.sign(module, []byte{1}), "X509|||" + want + "|01"})
	}
	for id, want := range map[string]string{
		"1.2.840.113549.2.2": "md2", "1.2.840.113549.2.4": "md4", "1.2.840.113549.2.5": "md5", "1.3.14.3.2.18": "sha", "1.3.14.3.2.26": "sha1",
		"1.3.36.3.2.1": "ripemd160", "2.5.8.3.101": "mdc2", "1.2.156.10197.1.401": "sm3", "1.0.10118.3.0.55": "whirlpool",
		"1.2.643.2.2.9": "GOST R 34.11-94", "1.2.643.7.1.1.2.2": "GOST R 34.11-2012 with 256 bit hash",
		"1.2.643.7.1.1.2.3":          "GOST R 34.11-2012 with 512 bit hash",
		"1.3.6.1.4.1.1722.12.2.1.16": "blake2b512", "1.3.6.1.4.1.1722.12.2.2.8": "blake2s256",
		"2.16.840.1.101.3.4.2.2": "sha384", "2.16.840.1.101.3.4.2.3": "sha512", "2.16.840.1.101.3.4.2.4": "sha224",
		"2.16.840.1.101.3.4.2.5": "sha512-224", "2.16.840.1.101.3.4.2.6": "sha512-256", "2.16.840.1.101.3.4.2.7": "sha3-224",
		"2.16.840.1.101.3.4.2.8": "sha3-256", "2.16.840.1.101.3.4.2.9": "sha3-384", "2.16.840.1.101.3.4.2.10": "sha3-512",
		"2.16.840.1.101.3.4.2.11": "shake128", "2.16.840.1.101.3.4.2.12": "shake256",
		"1.2.3.4.5": "1.2.3.4.5", "2.16.840.1.101.3.4.2.99": "2.16.840.1.101.3.4.2.99", "2.999.7": "2.999.7",
	} {
		cases = append(cases, signedCase{"digest " + want, pkcs7.sign(module, cms{digest: id}.bytes()), "PKCS#7|Signer|12:34|" + want + "|AA:BB"})
	}
	return cases
}

func hex20(b []byte) string {
	var lines []string
	for line := range slices.Chunk(b, 20) {
		lines = append(lines, strings.ReplaceAll(fmt.Sprintf("% X", line), " ", ":"))
	}
	return strings.Join(lines, ":\n\t\t")
}

// kmodFields words a signature as kmod prints it.
func kmodFields(s *modinfo.Signature) string {
	if s == nil || s.Type == modinfo.PKCS7 && s.Serial == nil {
		return ""
	}
	return strings.Join([]string{s.Type.String(), s.Signer, hex20(append(s.Serial, s.KeyID...)), s.Hash, hex20(s.Bytes)}, "|")
}

func TestSignature(t *testing.T) {
	module := kotest.Must(t, "modinfo license=GPL")
	for _, c := range signedCases(module) {
		t.Run(c.name, func(t *testing.T) {
			for _, pack := range []func([]byte) []byte{bytes.Clone, kotest.Gzip, kotest.Zstd, func(b []byte) []byte { return kotest.XZ(b) }} {
				data := pack(c.module)
				m, err := modinfo.Read(bytes.NewReader(data), int64(len(data)))
				if err != nil {
					t.Fatal(err)
				}
				if got := kmodFields(m.Signature); got != c.want {
					t.Errorf("%v: %q, want %q", m.Compression, got, c.want)
				}
			}
		})
	}
}

// TestSignatureAgainstKmod: that is also what kmod says.
func TestSignatureAgainstKmod(t *testing.T) {
	program := filepath.Join(kotest.Lab(t), "modinfo-34")
	file := filepath.Join(t.TempDir(), "signed.ko")
	for _, c := range signedCases(kotest.Must(t, "modinfo license=GPL")) {
		if err := os.WriteFile(file, c.module, 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(program, "-0", file).Output()
		if err != nil {
			t.Fatal(err)
		}
		var values []string
		for field := range strings.SplitSeq(string(out), "\x00") {
			key, value, _ := strings.Cut(field, "=")
			if slices.Contains([]string{"sig_id", "signer", "sig_key", "sig_hashalgo", "signature"}, key) {
				values = append(values, value)
			}
		}
		if got := strings.Join(values, "|"); got != c.want {
			t.Errorf("%s: kmod shows %q, the table has %q", c.name, got, c.want)
		}
	}
}

// What kmod 34 does not show is read none the less.
func TestSignatureByKeyIdentifier(t *testing.T) {
	module := pkcs7.sign(kotest.Must(t, ""), cms{version: "\x03", signer: der(0x80, []byte{1, 2})}.bytes())
	m, err := modinfo.Read(bytes.NewReader(module), int64(len(module)))
	if err != nil {
		t.Fatal(err)
	}
	s := m.Signature
	if s == nil || !bytes.Equal(s.KeyID, []byte{1, 2}) || s.Serial != nil || s.Hash != "sha256" || !bytes.Equal(s.Bytes, []byte{0xaa, 0xbb}) {
		t.Errorf("%+v", s)
	}
}

func TestSignatureNotUnderstood(t *testing.T) {
	module := pkcs7.sign(kotest.Must(t, ""), []byte("garbage"))
	m, err := modinfo.Read(bytes.NewReader(module), int64(len(module)))
	if err != nil {
		t.Fatal(err)
	}
	if s := m.Signature; s == nil || s.Type != modinfo.PKCS7 || s.Hash != "unknown" || s.Bytes != nil || s.Serial != nil {
		t.Errorf("%+v", s)
	}
}

// FuzzSignature: whatever is appended, the module is read, and what is shown of
// the signature has its place in the file.
func FuzzSignature(f *testing.F) {
	module, err := kotest.Build("modinfo license=GPL")
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range signedCases(module) {
		f.Add(c.module[min(len(module), len(c.module)):])
	}
	r := modinfo.Reader{WithSignature: true, WithoutSymbols: true}
	f.Fuzz(func(t *testing.T, appended []byte) {
		data := append(bytes.Clone(module), appended...)
		m, err := r.Read(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		s := m.Signature
		if s == nil {
			return
		}
		if !bytes.HasSuffix(data, []byte("~Module signature appended~\n")) || s.Hash == "" || s.Serial != nil && s.KeyID != nil {
			t.Errorf("%+v", s)
		}
		if len(s.Signer)+len(s.Serial)+len(s.KeyID)+len(s.Bytes) > len(data) {
			t.Error("more than there is in the file")
		}
	})
}
