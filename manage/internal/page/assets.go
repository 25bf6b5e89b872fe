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

// assets are the files of the page by the name under which serveAsset serves them. The
// name contains a hash of the content, so that browsers may cache the file forever.
// assetNames has these names by the name of the file.
var assets, assetNames = loadAssets()

func loadAssets() (map[string][]byte, map[string]string) {
	assets, names := make(map[string][]byte), make(map[string]string)
	entries, err := fs.ReadDir(files, "static")
	if err != nil {
		panic(err) // cannot happen: the files are compiled in
	}
	for _, e := range entries {
		content, err := fs.ReadFile(files, "static/"+e.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(content)
		ext := path.Ext(e.Name())
		name := strings.TrimSuffix(e.Name(), ext) + "." + hex.EncodeToString(sum[:6]) + ext
		assets[name], names[e.Name()] = content, name
	}
	return assets, names
}

// serveAsset answers with a file, to anyone: the files are the same for all users.
func serveAsset(w http.ResponseWriter, r *http.Request, name string) {
	content, ok := assets[name]
	if !ok {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	h := w.Header()
	h.Set("Content-Type", contentTypes[path.Ext(name)])
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Write(content)
}

// contentTypes replaces package mime, whose answers depend on the machine.
var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}
