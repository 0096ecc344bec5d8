// Package pkcs7 takes the signatures apart that are appended to kernel modules:
// the SignedData of RFC 2315 (RFC 5652 has the newer forms). Values that nobody
// here needs are passed over as they are.
package pkcs7

import (
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
)

// SignedData is a message with its signers. The content is detached in modules'
// signatures.
type SignedData struct {
	Version      int
	Digests      asn1.RawValue
	Content      EncapsulatedContent
	Certificates asn1.RawValue `asn1:"optional,tag:0"`
	Revoked      asn1.RawValue `asn1:"optional,tag:1"`
	Signers      asn1.RawValue // SET of SignerInfo
}

// EncapsulatedContent is what is signed, when it is not detached.
type EncapsulatedContent struct {
	Type    asn1.ObjectIdentifier
	Content asn1.RawValue `asn1:"optional,explicit,tag:0"`
}

// A SignerInfo is one signature.
type SignerInfo struct {
	Version    int
	Signer     asn1.RawValue // IssuerAndSerial, or [0] key identifier
	Digest     Algorithm
	Attributes asn1.RawValue `asn1:"optional,tag:0"`
	Algorithm  Algorithm
	Signature  []byte
	Unsigned   asn1.RawValue `asn1:"optional,tag:1"`
}

// An Algorithm is named by its object identifier.
type Algorithm struct {
	ID         asn1.ObjectIdentifier
	Parameters asn1.RawValue `asn1:"optional"`
}

// IssuerAndSerial names a certificate.
type IssuerAndSerial struct {
	Issuer asn1.RawValue
	Serial *big.Int
}

type contentInfo struct {
	Type    asn1.ObjectIdentifier
	Content SignedData `asn1:"explicit,tag:0"`
}

var oidSignedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}

// MaxSize bounds what is taken apart; the largest signatures, of post-quantum
// algorithms, have 50 KB.
const MaxSize = 1 << 20

// Parse reads a DER encoded message. What follows the structure does not matter.
func Parse(der []byte) (*SignedData, error) {
	if len(der) > MaxSize {
		return nil, fmt.Errorf("pkcs7: %d bytes are more than the limit of %d", len(der), MaxSize)
	}
	var info contentInfo
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return nil, errors.New("pkcs7: it is no signed data in DER encoding") // what asn1 says is for programmers
	}
	if !info.Type.Equal(oidSignedData) {
		return nil, fmt.Errorf("pkcs7: the content is %v, not signed data", info.Type)
	}
	if s := info.Content.Signers; s.Class != asn1.ClassUniversal || s.Tag != asn1.TagSet {
		return nil, errors.New("pkcs7: the signers are no set")
	}
	return &info.Content, nil
}

// First gives the first signer.
func (s *SignedData) First() (*SignerInfo, error) {
	signer := new(SignerInfo)
	if _, err := asn1.Unmarshal(s.Signers.Bytes, signer); err != nil {
		return nil, errors.New("pkcs7: it has no signer")
	}
	return signer, nil
}

// KeyID gives the key identifier that names the signer, when one does.
func (s *SignerInfo) KeyID() ([]byte, bool) {
	if s.Signer.Class != asn1.ClassContextSpecific || s.Signer.Tag != 0 {
		return nil, false
	}
	return s.Signer.Bytes, true
}

// Issuer gives the issuer and the serial number of the signer's certificate, when
// they name it.
func (s *SignerInfo) Issuer() (*IssuerAndSerial, error) {
	issuer := new(IssuerAndSerial)
	if _, err := asn1.Unmarshal(s.Signer.FullBytes, issuer); err != nil {
		return nil, errors.New("pkcs7: the signer's certificate is not named by issuer and serial number")
	}
	return issuer, nil
}
