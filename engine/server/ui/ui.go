// Package ui serves the status page. Its files are embedded in the binary, and it requests nothing but its own files and the API
// of the daemon.
package ui

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

//go:embed static
var embedded embed.FS

// contentTypes are the types of the embedded files, by extension.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
	"":      "text/plain; charset=utf-8", // licenses
}

// securityPolicy allows only files and requests of the page's own origin, and no script that is made of text.
const securityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types 'none'"

const (
	indexName = "index.html"
	// placeholder stands in the page for the version.
	placeholder = "ui/version/"
	// versionLength is enough to distinguish the versions that a browser has cached.
	versionLength = 12
)

// A Handler serves the page at / and its files at /ui/VERSION/. VERSION is a digest of all files, so that browsers cache them for
// good and a page never gets files of another version. It is safe for concurrent use.
type Handler struct {
	mux   http.ServeMux
	files map[string]file // by path; the page is index.html
}

// A file is one embedded file.
type file struct {
	contentType     string
	etag            string
	content, zipped []byte
}

// NewHandler returns a handler of the embedded files.
func NewHandler() *Handler {
	files, version := prepared()
	h := &Handler{files: files}
	h.mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache")
		h.files[indexName].serve(w, r)
	})
	h.mux.HandleFunc("GET /ui/"+version+"/{name...}", func(w http.ResponseWriter, r *http.Request) {
		f, ok := h.files[r.PathValue("name")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "max-age=31536000, immutable")
		f.serve(w, r)
	})
	return h
}

// prepared returns the files as they are served, by their paths, and their version. Compressing them takes a while, so all
// handlers share them.
var prepared = sync.OnceValues(func() (files map[string]file, version string) {
	contents, version := readFiles()
	contents[indexName] = bytes.ReplaceAll(contents[indexName], []byte(placeholder), []byte("ui/"+version+"/"))
	files = map[string]file{}
	for name, content := range contents {
		files[name] = newFile(name, content)
	}
	return files, version
})

// readFiles returns the embedded files by their paths, and their version.
func readFiles() (contents map[string][]byte, version string) {
	contents = map[string][]byte{}
	digest := sha256.New()
	static, _ := fs.Sub(embedded, "static") // the name is valid
	err := fs.WalkDir(static, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		contents[name], err = fs.ReadFile(static, name)
		sum := sha256.Sum256(contents[name])
		digest.Write([]byte(name + "\x00"))
		digest.Write(sum[:])
		return err
	})
	if err != nil {
		panic(err) // embedded files can be read
	}
	return contents, hex.EncodeToString(digest.Sum(nil))[:versionLength]
}

func newFile(name string, content []byte) file {
	sum := sha256.Sum256(content)
	var zipped bytes.Buffer
	writer, _ := gzip.NewWriterLevel(&zipped, gzip.BestCompression) // the level is valid
	_, _ = writer.Write(content)                                    // a buffer returns no errors
	_ = writer.Close()
	return file{
		contentType: contentTypes[path.Ext(name)], etag: hex.EncodeToString(sum[:])[:versionLength],
		content: content, zipped: zipped.Bytes(),
	}
}

func (f file) serve(w http.ResponseWriter, r *http.Request) {
	content, etag := f.content, f.etag
	header := w.Header()
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		content, etag = f.zipped, f.etag+"-gzip"
		header.Set("Content-Encoding", "gzip")
	}
	header.Set("ETag", `"`+etag+`"`)
	header.Set("Vary", "Accept-Encoding")
	header.Set("Content-Type", f.contentType)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// ServeHTTP serves a file with headers that keep other pages from embedding it and its scripts from loading anything else.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", securityPolicy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.mux.ServeHTTP(w, r)
}
