package ui

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"
)

func get(t *testing.T, h http.Handler, target string, header map[string]string) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	for name, value := range header {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r io.Reader) string {
	t.Helper()
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// references are the addresses in the page.
var references = regexp.MustCompile(`(?:src|href)="([^"#]*)"`)

func TestHandlerServesThePageWithItsFiles(t *testing.T) {
	h := NewHandler()
	page := get(t, h, "/", nil)
	if page.StatusCode != http.StatusOK || page.Header.Get("Cache-Control") != "no-cache" {
		t.Fatalf("status %d, header %v", page.StatusCode, page.Header)
	}
	found := references.FindAllStringSubmatch(body(t, page.Body), -1)
	if len(found) == 0 {
		t.Fatal("the page refers to no file")
	}
	for _, reference := range found {
		name := reference[1]
		if !strings.HasPrefix(name, "ui/") {
			continue // of the API
		}
		asset := get(t, h, "/"+name, nil)
		if asset.StatusCode != http.StatusOK || !strings.Contains(asset.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: status %d, header %v", name, asset.StatusCode, asset.Header)
		}
	}
}

func TestHandlerRefusesOtherVersionsAndPaths(t *testing.T) {
	h := NewHandler()
	_, version := readFiles()
	for _, target := range []string{
		"/ui/", "/ui/app.js", "/ui/version/app.js", "/ui/000000000000/app.js", "/ui/" + version + "/",
		"/ui/" + version + "/none.js", "/ui/" + version + "/vendor", "/index.html",
	} {
		if code := get(t, h, target, nil).StatusCode; code != http.StatusNotFound {
			t.Errorf("%s: status %d", target, code)
		}
	}
}

func TestHandlerCompressesAndRevalidates(t *testing.T) {
	h := NewHandler()
	plain := get(t, h, "/", nil)
	zipped := get(t, h, "/", map[string]string{"Accept-Encoding": "gzip, br"})
	if zipped.Header.Get("Content-Encoding") != "gzip" || zipped.Header.Get("Vary") != "Accept-Encoding" {
		t.Fatalf("header %v", zipped.Header)
	}
	reader, err := gzip.NewReader(zipped.Body)
	if err != nil {
		t.Fatal(err)
	}
	if body(t, reader) != body(t, plain.Body) {
		t.Error("the compressed page differs")
	}
	if plain.Header.Get("ETag") == zipped.Header.Get("ETag") {
		t.Error("both encodings have the same ETag")
	}
	again := get(t, h, "/", map[string]string{"If-None-Match": plain.Header.Get("ETag")})
	if again.StatusCode != http.StatusNotModified {
		t.Errorf("status %d", again.StatusCode)
	}
}

func TestHandlerSetsSecurityHeaders(t *testing.T) {
	h := NewHandler()
	for _, target := range []string{"/", "/ui/none"} {
		header := get(t, h, target, nil).Header
		policy := header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %q", target, policy)
		}
		for _, name := range []string{"X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Opener-Policy"} {
			if header.Get(name) == "" {
				t.Errorf("%s: no header %s", target, name)
			}
		}
	}
}

// TestFilesAreServable fails for files that no content type is known for, and for scripts that name another host.
func TestFilesAreServable(t *testing.T) {
	contents, _ := readFiles()
	for name, content := range contents {
		if contentTypes[path.Ext(name)] == "" {
			t.Errorf("%s has no content type", name)
		}
		if strings.HasPrefix(name, "vendor/") {
			continue
		}
		if strings.Contains(strings.ReplaceAll(string(content), "http://www.w3.org/", ""), "://") {
			t.Errorf("%s names another host", name)
		}
	}
}
