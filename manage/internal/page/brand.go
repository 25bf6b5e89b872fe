package page

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// properties are the custom properties of the page's style sheet that a service can set.
var properties = propertiesOf(staticFile("page.css"))

func propertiesOf(css string) (names []string) {
	_, rest, _ := strings.Cut(css, ":root {")
	block, _, _ := strings.Cut(rest, "}")
	for _, m := range regexp.MustCompile(`(?m)^\s*--([a-z-]+):`).FindAllStringSubmatch(block, -1) {
		names = append(names, m[1])
	}
	return names
}

// colorScheme is a name in Config.Style for a page that is not light or dark as its
// readers like it. darkWhen has the condition for dark in a style sheet, by its value.
const colorScheme = "color-scheme"

var darkWhen = map[string]string{"light": "not all", "dark": "all"}

// checkStyle reports the mistakes in Config.Style. A value that passes cannot end the
// declaration in which it stands, nor load anything.
func checkStyle(style map[string]string, wrong func(format string, args ...any)) {
	for _, name := range slices.Sorted(maps.Keys(style)) {
		value := style[name]
		if name == colorScheme {
			if darkWhen[value] == "" {
				wrong("Style[%q] is %q, neither light nor dark", name, value)
			}
			continue
		}
		switch lower := strings.ToLower(value); {
		case !slices.Contains(properties, name):
			wrong("Style has %q, which is none of %s", name, strings.Join(properties, ", "))
		case strings.TrimSpace(value) == "":
			wrong("Style[%q] is empty", name)
		case strings.ContainsAny(value, ";{}<>@\\!\n\r") || strings.Contains(value, "/*") || strings.Contains(lower, "url(") ||
			strings.Count(value, "(") != strings.Count(value, ")") || strings.Count(value, `"`)%2 != 0 || strings.Count(value, "'")%2 != 0:
			wrong("Style[%q] is %q, which is not a single value of CSS without url()", name, value)
		}
	}
}

// styleSheet returns the style sheet that sets the properties of a service. The colors
// that belong to the accent follow from it, unless they are set.
func styleSheet(style map[string]string, selector string) []byte {
	all := map[string]string{}
	if style["accent"] != "" {
		all["accent-hover"] = "color-mix(in oklab, var(--accent) 86%, light-dark(black, white))"
		all["accent-soft"] = "color-mix(in oklab, var(--accent) 12%, var(--surface))"
		all["accent-text"] = "light-dark(color-mix(in oklab, var(--accent) 90%, black), color-mix(in oklab, var(--accent) 55%, white))"
	}
	maps.Copy(all, style)
	var css bytes.Buffer
	fmt.Fprintf(&css, "%s {\n", selector)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if name == colorScheme {
			fmt.Fprintf(&css, "\tcolor-scheme: %s;\n", all[name])
			continue
		}
		fmt.Fprintf(&css, "\t--%s: %s;\n", name, all[name])
	}
	css.WriteString("}\n")
	return css.Bytes()
}

// logoFile returns the name of a file for an image, "" if it is none.
func logoFile(image []byte) string {
	switch http.DetectContentType(image) {
	case "image/png":
		return "logo.png"
	case "image/jpeg":
		return "logo.jpg"
	case "image/gif":
		return "logo.gif"
	case "image/webp":
		return "logo.webp"
	}
	if start := bytes.TrimSpace(image); bytes.HasPrefix(start, []byte("<svg")) || bytes.HasPrefix(start, []byte("<?xml")) && bytes.Contains(start, []byte("<svg")) {
		return "logo.svg"
	}
	return ""
}

// originIn returns the origin of an absolute http address, "" for any other text.
func originIn(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || !hostPattern.MatchString(u.Host) || u.User != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// Check returns all mistakes in what a service can set for the page.
func (c *Config) Check() error {
	var mistakes []error
	wrong := func(format string, args ...any) { mistakes = append(mistakes, fmt.Errorf(format, args...)) }
	if c.Words != nil {
		if err := c.Words.Check(Texts()); err != nil {
			wrong("Words: %w", err)
		}
	}
	checkStyle(c.Style, wrong)
	if c.Logo != nil && logoFile(c.Logo) == "" {
		wrong("Logo is no PNG, JPEG, GIF, WebP or SVG image")
	}
	if c.LogoURL != "" && originIn(c.LogoURL) == "" && (!strings.HasPrefix(c.LogoURL, "/") || strings.HasPrefix(c.LogoURL, "//")) {
		wrong("LogoURL %q is neither an http address nor a path that begins with a slash", c.LogoURL)
	}
	if c.Logo != nil && c.LogoURL != "" {
		wrong("Logo and LogoURL are both set")
	}
	for i, origin := range c.Sources {
		if originIn(origin) != origin {
			wrong("Sources[%d]: %q is no origin such as https://cdn.example", i, origin)
		}
	}
	for i, origin := range c.FrameAncestors {
		if originIn(origin) != origin && origin != "'self'" {
			wrong("FrameAncestors[%d]: %q is neither an origin such as https://portal.example nor 'self'", i, origin)
		}
	}
	for i := range mistakes {
		mistakes[i] = fmt.Errorf("manage: Config.Page.%w", mistakes[i])
	}
	return errors.Join(mistakes...)
}

// brand adds the files of a service, and says what browsers may load and do on the page.
func (h *handler) brand() {
	c := &h.config
	h.assets = newAssets()
	selector := ":root"
	css := ""
	for _, file := range []string{"page.css", "forms.css"} {
		sheet := staticFile(file)
		if dark := darkWhen[c.Style[colorScheme]]; dark != "" {
			sheet = strings.ReplaceAll(sheet, "(prefers-color-scheme: dark)", dark)
			h.assets.add(file, []byte(sheet))
		}
		css += sheet
	}
	if c.Layout != nil {
		selector = scope
		h.assets.add("within.css", within(css))
	}
	if c.Style != nil {
		h.assets.add("style.css", styleSheet(c.Style, selector))
	}
	images := originIn(c.LogoURL)
	if c.Logo != nil {
		h.logo = logoFile(c.Logo)
		h.assets.add(h.logo, c.Logo)
	}
	self := strings.Join(append([]string{"'self'"}, c.Sources...), " ")
	ancestors := "'none'"
	if len(c.FrameAncestors) > 0 {
		ancestors = strings.Join(c.FrameAncestors, " ")
	}
	h.policy = "default-src 'none'; script-src " + self + "; style-src " + self + "; img-src " + strings.TrimSpace(self+" "+images) +
		"; form-action 'self'; frame-ancestors " + ancestors + "; base-uri 'none'"
	if c.Layout != nil {
		h.policy += "; font-src " + self + "; connect-src 'self'"
	} else { // scripts of a layout may make elements from text
		h.policy += "; require-trusted-types-for 'script'; trusted-types 'none'"
	}
}
