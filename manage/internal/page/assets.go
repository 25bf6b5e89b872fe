package page

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed static templates
var files embed.FS

// assets are files by the names under which the page serves them. A name contains a hash
// of the content, so that browsers may cache the file forever.
type assets struct {
	content map[string][]byte
	names   map[string]string // by the name of the file
}

// staticAssets are the files that are the same for all services.
var staticAssets = loadAssets()

func loadAssets() assets {
	a := newAssets()
	entries, err := fs.ReadDir(files, "static")
	if err != nil {
		panic(err) // cannot happen: the files are compiled in
	}
	for _, e := range entries {
		content, err := fs.ReadFile(files, "static/"+e.Name())
		if err != nil {
			panic(err)
		}
		a.add(e.Name(), content)
	}
	return a
}

func newAssets() assets { return assets{make(map[string][]byte), make(map[string]string)} }

func (a assets) add(file string, content []byte) {
	sum := sha256.Sum256(content)
	ext := path.Ext(file)
	name := strings.TrimSuffix(file, ext) + "." + hex.EncodeToString(sum[:6]) + ext
	a.content[name], a.names[file] = content, name
}

// staticFile returns the content of a file.
func staticFile(name string) string { return string(staticAssets.content[staticAssets.names[name]]) }

// asset returns the name under which the page serves a file, "" if there is none.
func (h *handler) asset(file string) string {
	if name, ok := h.assets.names[file]; ok {
		return name
	}
	return staticAssets.names[file]
}

// serveAsset answers with a file, to anyone: the files are the same for all users.
func (h *handler) serveAsset(w http.ResponseWriter, r *http.Request, name string) {
	content, ok := h.assets.content[name]
	if !ok {
		content, ok = staticAssets.content[name]
	}
	if !ok {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", contentTypes[path.Ext(name)])
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Write(content)
}

// contentTypes replaces package mime, whose answers depend on the machine.
var contentTypes = map[string]string{
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
	".png":  "image/png",
	".jpg":  "image/jpeg",
	".gif":  "image/gif",
	".webp": "image/webp",
}
