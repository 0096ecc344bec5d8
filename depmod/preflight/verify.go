package preflight

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	_ "crypto/sha1" // the digests that modules are signed with
	_ "crypto/sha256"
	_ "crypto/sha3"
	_ "crypto/sha512"
	"crypto/x509"
	"fmt"

	"github.com/kstage/kstage/internal/pkcs7"
	"github.com/kstage/kstage/modinfo/kernel"
)

// digests are those of the module signatures that there are (CONFIG_MODULE_SIG_HASH),
// by object identifier.
var digests = map[string]crypto.Hash{
	"1.3.14.3.2.26":           crypto.SHA1,
	"2.16.840.1.101.3.4.2.1":  crypto.SHA256,
	"2.16.840.1.101.3.4.2.2":  crypto.SHA384,
	"2.16.840.1.101.3.4.2.3":  crypto.SHA512,
	"2.16.840.1.101.3.4.2.4":  crypto.SHA224,
	"2.16.840.1.101.3.4.2.8":  crypto.SHA3_256,
	"2.16.840.1.101.3.4.2.9":  crypto.SHA3_384,
	"2.16.840.1.101.3.4.2.10": crypto.SHA3_512,
}

// digestOptions are the kernel's options for them.
var digestOptions = map[crypto.Hash]string{
	crypto.SHA1: "CRYPTO_SHA1", crypto.SHA224: "CRYPTO_SHA256", crypto.SHA256: "CRYPTO_SHA256", crypto.SHA384: "CRYPTO_SHA512",
	crypto.SHA512: "CRYPTO_SHA512", crypto.SHA3_256: "CRYPTO_SHA3", crypto.SHA3_384: "CRYPTO_SHA3", crypto.SHA3_512: "CRYPTO_SHA3",
}

// verify is verify_pkcs7_signature with the keys that the kernel was built with
// (crypto/asymmetric_keys/pkcs7_verify.c, pkcs7_trust.c); der is the signature, and
// the module's data what it signs.
func (m *module) verify(der []byte) (signing, *Finding) {
	message, err := pkcs7.Parse(der)
	if err != nil {
		return signedUnknown, brokenSignature("the signature cannot be read: " + err.Error())
	}
	signer, err := message.First()
	if err != nil {
		return signedUnknown, brokenSignature("the signature cannot be read: " + err.Error())
	}
	if len(message.Content.Content.FullBytes) > 0 {
		return signedUnknown, brokenSignature("the signature holds content of its own", "PKCS#7 signature with non-detached data")
	}
	if len(signer.Attributes.FullBytes) > 0 {
		f := rejected("the signature has attributes, which the kernel does not want in modules")
		f.Dmesg = []string{"PKCS7: Invalid module sig (has authattrs)"}
		return signedUnknown, f
	}
	if m.facts.KeysFrom.Source == kernel.Unknown {
		return signedUnknown, nil
	}
	hash, known := digests[signer.Digest.ID.String()]
	if !known || m.facts.Option(digestOptions[hash]).No() {
		return signedStrange, nil
	}
	cert := signerOf(signer, m.facts.Keys)
	if cert == nil {
		return signedStranger, nil
	}
	h := hash.New()
	h.Write(m.data)
	fits, known := verifyDigest(cert, hash, h.Sum(nil), signer.Signature)
	if !known {
		return signedUnknown, nil
	}
	if !fits {
		f := rejected(fmt.Sprintf("the file was changed after it was signed (key of %q): the signature does not fit", cert.Subject.CommonName))
		f.From = m.facts.KeysFrom.Source
		return signedUnknown, f
	}
	return signedTrusted, nil
}

func rejected(text string) *Finding {
	return &Finding{Rule: Untrusted, Severity: Fail, Errno: EKEYREJECTED, Text: text}
}

// signerOf finds the certificate that a signature names, by the issuer and the serial
// number or by the key's identifier. One that cannot be read is passed over.
func signerOf(signer *pkcs7.SignerInfo, keys [][]byte) *x509.Certificate {
	id, byID := signer.KeyID()
	issuer, err := signer.Issuer()
	if !byID && err != nil {
		return nil
	}
	for _, der := range keys {
		cert, err := x509.ParseCertificate(der)
		switch {
		case err != nil:
		case byID && len(id) > 0 && bytes.Equal(cert.SubjectKeyId, id):
			return cert
		case !byID && bytes.Equal(cert.RawIssuer, issuer.Issuer.FullBytes) && cert.SerialNumber.Cmp(issuer.Serial) == 0:
			return cert
		}
	}
	return nil
}

// verifyDigest tells whether a signature fits; known is false for kinds of keys that
// are not looked at here.
func verifyDigest(cert *x509.Certificate, hash crypto.Hash, digest, signature []byte) (fits, known bool) {
	switch key := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(key, hash, digest, signature) == nil, true
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(key, digest, signature), true
	}
	return false, false
}
