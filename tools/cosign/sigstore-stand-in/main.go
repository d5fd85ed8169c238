// A Fulcio and a Rekor of one invocation, from sigstore's own test kit: signs an image keyless, in both formats, and writes
// the trusted root by which that can be verified.
//
//	sigstore-stand-in DIR HOST/NAME DIGEST IDENTITY ISSUER
package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	prototrustroot "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"github.com/sigstore/rekor/pkg/util"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/sigstore/sigstore/pkg/signature"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func main() {
	if len(os.Args) != 6 {
		fmt.Fprintln(os.Stderr, "sigstore-stand-in DIR HOST/NAME DIGEST IDENTITY ISSUER")
		os.Exit(2)
	}
	if err := sign(os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func sign(folder, name, digest, identity, issuer string) error {
	sigstore, err := ca.NewVirtualSigstore()
	if err != nil {
		return err
	}
	log, err := newLog()
	if err != nil {
		return err
	}
	authorities := sigstore.FulcioCertificateAuthorities()
	trusted, err := root.NewTrustedRoot(root.TrustedRootMediaType01, authorities, nil, nil, map[string]*root.TransparencyLog{})
	if err != nil {
		return err
	}
	text, err := trusted.MarshalJSON()
	if err != nil {
		return err
	}
	var message prototrustroot.TrustedRoot
	if err := protojson.Unmarshal(text, &message); err != nil {
		return err
	}
	message.Tlogs = []*prototrustroot.TransparencyLogInstance{log.instance()}
	trustedRoot, err := protojson.Marshal(&message)
	if err != nil {
		return err
	}
	if err := write(folder, "trusted-root.json", trustedRoot); err != nil {
		return err
	}
	if err := writeBundle(sigstore, log, folder, digest, identity, issuer); err != nil {
		return err
	}
	return writeSimple(sigstore, log, folder, name, digest, identity, issuer)
}

// A transparency log of one entry. The test kit has one too, but gives neither its promises nor proofs of a tree's right size.
type log struct {
	key *ecdsa.PrivateKey
	der []byte
	id  [32]byte
}

func newLog() (*log, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	return &log{key: key, der: der, id: sha256.Sum256(der)}, nil
}

func (l *log) instance() *prototrustroot.TransparencyLogInstance {
	return &prototrustroot.TransparencyLogInstance{
		BaseUrl:       "https://rekor.localhost",
		HashAlgorithm: protocommon.HashAlgorithm_SHA2_256,
		PublicKey: &protocommon.PublicKey{
			RawBytes:   l.der,
			KeyDetails: protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256,
			ValidFor:   &protocommon.TimeRange{Start: timestamppb.New(time.Now().Add(-time.Hour))},
		},
		LogId: &protocommon.LogId{KeyId: l.id[:]},
	}
}

func (l *log) enter(body []byte, integrated int64) (*protorekor.TransparencyLogEntry, error) {
	var head struct {
		Kind       string `json:"kind"`
		APIVersion string `json:"apiVersion"`
	}
	if err := json.Unmarshal(body, &head); err != nil {
		return nil, err
	}
	// Its members are in the order of canonical JSON.
	promised, err := json.Marshal(map[string]any{
		"body":           base64.StdEncoding.EncodeToString(body),
		"integratedTime": integrated,
		"logIndex":       0,
		"logID":          hex.EncodeToString(l.id[:]),
	})
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(promised)
	promise, err := ecdsa.SignASN1(rand.Reader, l.key, hash[:])
	if err != nil {
		return nil, err
	}
	signer, err := signature.LoadECDSASignerVerifier(l.key, crypto.SHA256)
	if err != nil {
		return nil, err
	}
	leaf := sha256.Sum256(append([]byte{0}, body...))
	checkpoint, err := util.CreateAndSignCheckpoint(context.Background(), "rekor.localhost", 1, 1, leaf[:], signer)
	if err != nil {
		return nil, err
	}
	return &protorekor.TransparencyLogEntry{
		LogIndex:         0,
		LogId:            &protocommon.LogId{KeyId: l.id[:]},
		KindVersion:      &protorekor.KindVersion{Kind: head.Kind, Version: head.APIVersion},
		IntegratedTime:   integrated,
		InclusionPromise: &protorekor.InclusionPromise{SignedEntryTimestamp: promise},
		InclusionProof: &protorekor.InclusionProof{
			LogIndex:   0,
			RootHash:   leaf[:],
			TreeSize:   1,
			Checkpoint: &protorekor.Checkpoint{Envelope: string(checkpoint)},
		},
		CanonicalizedBody: body,
	}, nil
}

func (l *log) reenter(entry *tlog.Entry) (*protorekor.TransparencyLogEntry, error) {
	body, err := base64.StdEncoding.DecodeString(entry.Body().(string))
	if err != nil {
		return nil, err
	}
	return l.enter(body, entry.IntegratedTime().Unix())
}

func writeBundle(sigstore *ca.VirtualSigstore, log *log, folder, digest, identity, issuer string) error {
	statement, err := json.Marshal(map[string]any{
		"_type":         "https://in-toto.io/Statement/v1",
		"subject":       []any{map[string]any{"digest": map[string]string{"sha256": strings.TrimPrefix(digest, "sha256:")}}},
		"predicateType": "https://sigstore.dev/cosign/sign/v1",
		"predicate":     map[string]any{},
	})
	if err != nil {
		return err
	}
	entity, err := sigstore.Attest(identity, issuer, statement)
	if err != nil {
		return err
	}
	content, err := entity.SignatureContent()
	if err != nil {
		return err
	}
	envelope := content.EnvelopeContent().RawEnvelope()
	payload, err := envelope.DecodeB64Payload()
	if err != nil {
		return err
	}
	signature, err := base64.StdEncoding.DecodeString(envelope.Signatures[0].Sig)
	if err != nil {
		return err
	}
	verification, err := entity.VerificationContent()
	if err != nil {
		return err
	}
	entries, err := entity.TlogEntries()
	if err != nil {
		return err
	}
	entry, err := log.reenter(entries[0])
	if err != nil {
		return err
	}
	bundle, err := protojson.Marshal(&protobundle.Bundle{
		MediaType: "application/vnd.dev.sigstore.bundle.v0.3+json",
		VerificationMaterial: &protobundle.VerificationMaterial{
			Content:     &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: verification.Certificate().Raw}},
			TlogEntries: []*protorekor.TransparencyLogEntry{entry},
		},
		Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
			Payload:     payload,
			PayloadType: envelope.PayloadType,
			Signatures:  []*protodsse.Signature{{Sig: signature}},
		}},
	})
	if err != nil {
		return err
	}
	return write(folder, "bundle.json", bundle)
}

func writeSimple(sigstore *ca.VirtualSigstore, log *log, folder, name, digest, identity, issuer string) error {
	payload, err := json.Marshal(map[string]any{
		"critical": map[string]any{
			"identity": map[string]string{"docker-reference": name},
			"image":    map[string]string{"docker-manifest-digest": digest},
			"type":     "cosign container image signature",
		},
		"optional": nil,
	})
	if err != nil {
		return err
	}
	entity, err := sigstore.Sign(identity, issuer, payload)
	if err != nil {
		return err
	}
	content, err := entity.SignatureContent()
	if err != nil {
		return err
	}
	verification, err := entity.VerificationContent()
	if err != nil {
		return err
	}
	entries, err := entity.TlogEntries()
	if err != nil {
		return err
	}
	entry, err := log.reenter(entries[0])
	if err != nil {
		return err
	}
	rekor, err := json.Marshal(map[string]any{
		"SignedEntryTimestamp": entry.GetInclusionPromise().GetSignedEntryTimestamp(),
		"Payload": map[string]any{
			"body":           base64.StdEncoding.EncodeToString(entry.GetCanonicalizedBody()),
			"integratedTime": entry.GetIntegratedTime(),
			"logIndex":       entry.GetLogIndex(),
			"logID":          hex.EncodeToString(entry.GetLogId().GetKeyId()),
		},
	})
	if err != nil {
		return err
	}
	intermediate := sigstore.FulcioCertificateAuthorities()[0].(*root.FulcioCertificateAuthority).Intermediates[0]
	files := map[string][]byte{
		"payload.json":    payload,
		"signature":       []byte(base64.StdEncoding.EncodeToString(content.Signature())),
		"certificate.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: verification.Certificate().Raw}),
		"chain.pem":       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: intermediate.Raw}),
		"rekor.json":      rekor,
	}
	for file, bytes := range files {
		if err := write(folder, file, bytes); err != nil {
			return err
		}
	}
	return nil
}

func write(folder, name string, bytes []byte) error {
	return os.WriteFile(filepath.Join(folder, name), bytes, 0o600)
}
