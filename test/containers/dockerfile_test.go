// Package containers_test checks the Dockerfile and the examples for Docker Compose and Kubernetes. It builds and runs the image.
package containers_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/opencontainers/go-digest"
)

// repository is the root of the repository.
const repository = "../.."

// TestDockerfile_Lint runs all rules of BuildKit's linter.
func TestDockerfile_Lint(t *testing.T) {
	content := readFile(t, filepath.Join(repository, "Dockerfile"))
	source := llb.NewSourceMap(nil, "Dockerfile", "dockerfile", content)
	source.Definition = &llb.Definition{}
	results, err := dockerfile2llb.DockerfileLint(t.Context(), content, dockerfile2llb.ConvertOpt{
		SourceMap: source, MetaResolver: emptyImages{},
	})
	if err != nil {
		t.Fatal(err)
	}
	if results.Error != nil {
		t.Error(results.Error.Message)
	}
	for _, w := range results.Warnings {
		t.Errorf("line %v: %s: %s", w.Location.GetRanges(), w.RuleName, w.Detail)
	}
}

// emptyImages takes every base image for one without a configuration.
type emptyImages struct{}

func (emptyImages) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (
	string, digest.Digest, []byte, error,
) {
	config := []byte(`{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers"}}`)
	return ref, digest.FromBytes(config), config, nil
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
