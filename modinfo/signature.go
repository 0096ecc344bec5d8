package modinfo

import (
	"bytes"
	"encoding/asn1"
	"encoding/binary"
	"math/big"
	"unicode/utf8"
)

// A Signature is what was appended to a module when it was signed. It is read,
// not verified.
type Signature struct {
	Type SignatureType
	// Signer names who signed: for PKCS#7 the common name of the certificate's
	// issuer, or the last part of an issuer's name that has none.
	Signer string
	// Serial is the certificate's serial number, big-endian and without
	// leading zeros, so that 0 is empty. Nil where KeyID names the key, and in
	// a signature that cannot be understood.
	Serial []byte
	// KeyID names the key: always in the legacy types; in PKCS#7 where the
	// signer was told to use it (sign-file -k).
	KeyID []byte
	// Hash is the digest's name, such as sha256 or sha3-512, or a dotted
	// object identifier; "unknown" in a signature that cannot be understood.
	Hash string
	// Bytes are the signature itself, nil in one that cannot be understood.
	Bytes []byte
}

// SignatureType tells the form of a [Signature].
type SignatureType uint8

// The types that the kernel has known; since 4.3 only PKCS#7 is in use.
const (
	PGP SignatureType = iota
	X509
	PKCS7
)

// String gives the name that kmod prints: PGP, X509, PKCS#7.
func (t SignatureType) String() string {
	return [...]string{"PGP", "X509", "PKCS#7"}[t]
}

// A signed module ends so (include/linux/module_signature.h):
//
//	signer         as many bytes as told below; for PKCS#7 0
//	key id         likewise
//	signature      likewise
//	algorithm      1 byte: 0 DSA, 1 RSA; for PKCS#7 0
//	hash           1 byte, see legacyHashes; for PKCS#7 0
//	type           1 byte, see SignatureType
//	signer length  1 byte
//	key id length  1 byte
//	zeros          3 bytes
//	length         of the signature, 4 bytes, big-endian
//	"~Module signature appended~\n"
const (
	signatureMark = "~Module signature appended~\n"
	signatureInfo = 12
)

// legacyHashes are the kernel's numbers of digests of the time.
var legacyHashes = [...]string{"md4", "md5", "sha1", "rmd160", "sha256", "sha384", "sha512", "sha224", "sm3"}

// readSignature reads what is appended to the file; nil when that is no
// signature or one whose numbers contradict the file.
func readSignature(img *image) (*Signature, error) {
	const trailer = signatureInfo + len(signatureMark)
	if img.size < uint64(trailer) {
		return nil, nil
	}
	end := img.size - uint64(trailer)
	b, err := img.at(end, uint64(trailer))
	if err != nil || string(b[signatureInfo:]) != signatureMark {
		return nil, err
	}
	algo, hash, typ := b[0], b[1], SignatureType(b[2])
	signer, keyID, length := uint64(b[3]), uint64(b[4]), uint64(binary.BigEndian.Uint32(b[8:]))
	if algo > 1 || int(hash) >= len(legacyHashes) || typ > PKCS7 || length == 0 || signer+keyID+length > end {
		return nil, nil
	}
	if b, err = img.at(end-length-keyID-signer, signer+keyID+length); err != nil {
		return nil, err
	}
	value := b[signer+keyID:]
	if typ == PKCS7 {
		return parsePKCS7(value), nil
	}
	return &Signature{
		Type:   typ,
		Signer: string(cString(b[:signer], 0)),
		KeyID:  bytes.Clone(b[signer:][:keyID]),
		Hash:   legacyHashes[hash],
		Bytes:  bytes.Clone(value),
	}, nil
}

// What is read of PKCS#7 (RFC 2315; RFC 5652 has the newer forms). Values that
// are not needed are passed over as they are.
type contentInfo struct {
	Type    asn1.ObjectIdentifier
	Content signedData `asn1:"explicit,tag:0"`
}

type signedData struct {
	Version      int
	Digests      asn1.RawValue
	Content      asn1.RawValue
	Certificates asn1.RawValue `asn1:"optional,tag:0"`
	Revoked      asn1.RawValue `asn1:"optional,tag:1"`
	Signers      asn1.RawValue // SET of signerInfo, of which the first counts
}

type signerInfo struct {
	Version    int
	Signer     asn1.RawValue // issuerAndSerial, or [0] key identifier
	Digest     algorithm
	Attributes asn1.RawValue `asn1:"optional,tag:0"`
	Algorithm  algorithm
	Signature  []byte
	Unsigned   asn1.RawValue `asn1:"optional,tag:1"`
}

type algorithm struct {
	ID         asn1.ObjectIdentifier
	Parameters asn1.RawValue `asn1:"optional"`
}

type issuerAndSerial struct {
	Issuer []relativeNameSET
	Serial *big.Int
}

type relativeNameSET []attribute // encoding/asn1 tells a SET by the ending

type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

var (
	oidSignedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidCommonName = asn1.ObjectIdentifier{2, 5, 4, 3}
)

// maxPKCS7 bounds what is taken apart; the largest signatures, of post-quantum
// algorithms, have 50 KB.
const maxPKCS7 = 1 << 20

// parsePKCS7 reads the first signer of a DER encoded SignedData. What follows
// the structure does not matter.
func parsePKCS7(der []byte) *Signature {
	unknown := &Signature{Type: PKCS7, Hash: "unknown"}
	var info contentInfo
	if len(der) > maxPKCS7 {
		return unknown
	}
	if _, err := asn1.Unmarshal(der, &info); err != nil || !info.Type.Equal(oidSignedData) {
		return unknown
	}
	var signer signerInfo
	signers := info.Content.Signers
	if signers.Class != asn1.ClassUniversal || signers.Tag != asn1.TagSet {
		return unknown
	}
	if _, err := asn1.Unmarshal(signers.Bytes, &signer); err != nil {
		return unknown
	}
	s := &Signature{Type: PKCS7, Hash: digestName(signer.Digest.ID), Bytes: append([]byte{}, signer.Signature...)}
	if signer.Signer.Class == asn1.ClassContextSpecific && signer.Signer.Tag == 0 {
		s.KeyID = append([]byte{}, signer.Signer.Bytes...)
		return s
	}
	var issuer issuerAndSerial
	if _, err := asn1.Unmarshal(signer.Signer.FullBytes, &issuer); err != nil {
		return unknown
	}
	name, ok := signerName(issuer.Issuer)
	if !ok {
		return unknown
	}
	s.Signer, s.Serial = name, append([]byte{}, issuer.Serial.Bytes()...)
	return s
}

// signerName is the first common name, else the last part of the name, up to
// the first NUL; not ok when a part is no text.
func signerName(name []relativeNameSET) (text string, ok bool) {
	found := false
	for _, rdn := range name {
		for _, a := range rdn {
			b, isText := textOf(a.Value)
			if !isText {
				return "", false
			}
			if !found {
				text = string(cString(b, 0))
				found = a.Type.Equal(oidCommonName)
			}
		}
	}
	return text, true
}

// textOf gives the bytes of an attribute's value as OpenSSL hands them out: in
// whatever character set, and of a structure its encoding.
func textOf(v asn1.RawValue) ([]byte, bool) {
	if v.Class != asn1.ClassUniversal {
		return nil, false
	}
	switch v.Tag {
	case asn1.TagUTF8String:
		return v.Bytes, utf8.Valid(v.Bytes)
	case asn1.TagBitString:
		return v.Bytes[min(1, len(v.Bytes)):], len(v.Bytes) > 0
	case asn1.TagSequence:
		return v.FullBytes, true
	case asn1.TagInteger, asn1.TagOctetString, asn1.TagBoolean, asn1.TagNull, asn1.TagOID, asn1.TagEnum, asn1.TagSet:
		return nil, false
	}
	return v.Bytes, true
}

// digests have OpenSSL's names, which kmod prints.
var digests = map[string]string{
	"1.0.10118.3.0.55":           "whirlpool",
	"1.2.156.10197.1.401":        "sm3",
	"1.2.643.2.2.9":              "GOST R 34.11-94",
	"1.2.643.7.1.1.2.2":          "GOST R 34.11-2012 with 256 bit hash",
	"1.2.643.7.1.1.2.3":          "GOST R 34.11-2012 with 512 bit hash",
	"1.2.840.113549.2.2":         "md2",
	"1.2.840.113549.2.4":         "md4",
	"1.2.840.113549.2.5":         "md5",
	"1.3.14.3.2.18":              "sha",
	"1.3.14.3.2.26":              "sha1",
	"1.3.36.3.2.1":               "ripemd160",
	"1.3.6.1.4.1.1722.12.2.1.16": "blake2b512",
	"1.3.6.1.4.1.1722.12.2.2.8":  "blake2s256",
	"2.16.840.1.101.3.4.2.1":     "sha256",
	"2.16.840.1.101.3.4.2.2":     "sha384",
	"2.16.840.1.101.3.4.2.3":     "sha512",
	"2.16.840.1.101.3.4.2.4":     "sha224",
	"2.16.840.1.101.3.4.2.5":     "sha512-224",
	"2.16.840.1.101.3.4.2.6":     "sha512-256",
	"2.16.840.1.101.3.4.2.7":     "sha3-224",
	"2.16.840.1.101.3.4.2.8":     "sha3-256",
	"2.16.840.1.101.3.4.2.9":     "sha3-384",
	"2.16.840.1.101.3.4.2.10":    "sha3-512",
	"2.16.840.1.101.3.4.2.11":    "shake128",
	"2.16.840.1.101.3.4.2.12":    "shake256",
	"2.5.8.3.101":                "mdc2",
}

func digestName(id asn1.ObjectIdentifier) string {
	dotted := id.String()
	if name, ok := digests[dotted]; ok {
		return name
	}
	return dotted
}
