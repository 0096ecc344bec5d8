package pkcs7_test

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/kstage/kstage/internal/pkcs7"
)

// value is a DER value of less than 128 bytes: tag, length, contents in hexadecimal.
func value(tag string, contents ...string) string {
	text := strings.Join(contents, "")
	return fmt.Sprintf("%s%02x%s", tag, len(text)/2, text)
}

const (
	set, sequence, oid, integer, octets = "31", "30", "06", "02", "04"

	signedData, data = "2a864886f70d010702", "2a864886f70d010701"
	sha256, ecdsa    = "608648016503040201", "2a8648ce3d040302"
)

// message is written by hand after RFC 2315, 9.1: version 1, SHA-256, detached data, one
// signer who is named by the key identifier aabb, ECDSA, the signature 0102.
func message(t testing.TB) []byte {
	t.Helper()
	algorithm := value(sequence, value(oid, sha256))
	signer := value(sequence, value(integer, "03"), value("80", "aabb"), algorithm,
		value(sequence, value(oid, ecdsa)), value(octets, "0102"))
	text := value(sequence, value(oid, signedData), value("a0", value(sequence, value(integer, "01"),
		value(set, algorithm), value(sequence, value(oid, data)), value(set, signer))))
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParse(t *testing.T) {
	m, err := pkcs7.Parse(message(t))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := m.First()
	if err != nil {
		t.Fatal(err)
	}
	id, ok := signer.KeyID()
	if !ok || hex.EncodeToString(id) != "aabb" || signer.Algorithm.ID.String() != "1.2.840.10045.4.3.2" ||
		hex.EncodeToString(signer.Signature) != "0102" || len(m.Content.Content.FullBytes) != 0 {
		t.Errorf("%+v", signer)
	}
	if _, err := signer.Issuer(); err == nil {
		t.Error("a key identifier was taken for an issuer")
	}
}

// Cut off anywhere, it is refused in words for people.
func TestParseCutOff(t *testing.T) {
	whole := message(t)
	for n := range whole {
		if _, err := pkcs7.Parse(whole[:n]); err == nil || strings.Contains(err.Error(), "asn1") {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(message(f))
	f.Fuzz(func(_ *testing.T, der []byte) {
		m, err := pkcs7.Parse(der)
		if err != nil {
			return
		}
		signer, err := m.First()
		if err != nil {
			return
		}
		signer.KeyID()
		_, _ = signer.Issuer() // it must only end
	})
}
