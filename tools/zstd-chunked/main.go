// Writes the tar archive on standard input as a zstd:chunked layer to standard output, and the annotations of its
// descriptor, as JSON, to standard error: the writer that podman, buildah and skopeo have, for tests to be judged by.
package main

import (
	"encoding/json"
	"io"
	"log"
	"os"

	"github.com/containers/storage/pkg/chunked/compressor"
)

func main() {
	log.SetFlags(0)
	annotations := map[string]string{}
	layer, err := compressor.ZstdCompressor(os.Stdout, annotations, nil)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := io.Copy(layer, os.Stdin); err != nil {
		log.Fatal(err)
	}
	if err := layer.Close(); err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stderr).Encode(annotations); err != nil {
		log.Fatal(err)
	}
}
