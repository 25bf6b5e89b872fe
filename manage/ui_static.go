package manage

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
var uiFiles embed.FS

// uiAssets are the files of the page by the name under which they are served,
// which contains a hash of their content, so that browsers may keep them for
// good. uiAssetNames has these names by the name of the file.
var uiAssets, uiAssetNames = uiLoadAssets()

func uiLoadAssets() (map[string][]byte, map[string]string) {
	assets, names := make(map[string][]byte), make(map[string]string)
	entries, err := fs.ReadDir(uiFiles, "static")
	if err != nil {
		panic(err) // they are compiled in
	}
	for _, e := range entries {
		content, err := fs.ReadFile(uiFiles, "static/"+e.Name())
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

// uiServeAsset needs nobody to be signed in: the files are the same for all.
func uiServeAsset(w http.ResponseWriter, r *http.Request, name string) {
	content, ok := uiAssets[name]
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
	h.Set("Content-Type", uiContentTypes[path.Ext(name)])
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Write(content)
}

// Not package mime, which asks the machine what it thinks of them.
var uiContentTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}
