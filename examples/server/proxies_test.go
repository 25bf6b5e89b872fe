//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

// Both append the client's address as others do, replace the Host, compress, and say
// that the client uses TLS.
const nginxConf = `daemon off; pid DIR/pid; error_log DIR/error.log;
events {}
http {
	access_log off;
	client_body_temp_path DIR/a; proxy_temp_path DIR/b; fastcgi_temp_path DIR/c; uwsgi_temp_path DIR/d; scgi_temp_path DIR/e;
	gzip on; gzip_proxied any; gzip_min_length 1; gzip_types application/json;
	server {
		listen 127.0.0.1:PORT;
		location / {
			proxy_pass SERVER;
			proxy_set_header X-Forwarded-For "$remote_addr:$remote_port";
			proxy_set_header X-Forwarded-Proto https;
		}
	}
}
`

const caddyConf = `{
	admin off
	auto_https off
}
http://:PORT {
	bind 127.0.0.1
	encode {
		gzip
		minimum_length 1
	}
	reverse_proxy SERVER {
		header_up Host {upstream_hostport}
		header_up X-Forwarded-Proto https
	}
}
`

func TestTheServerBehindProxies(t *testing.T) {
	for _, proxy := range []struct {
		name, conf string
		weak       bool
		args       []string // "FILE" is the configuration
	}{
		{"nginx", nginxConf, true, []string{"-c", "FILE"}},
		{"caddy", caddyConf, false, []string{"run", "--config", "FILE", "--adapter", "caddyfile"}},
	} {
		t.Run(proxy.name, func(t *testing.T) {
			program, err := exec.LookPath(proxy.name)
			if err != nil { // Debian has it where only root looks
				program, err = exec.LookPath("/usr/sbin/" + proxy.name)
			}
			if err != nil {
				t.Skip("needs " + proxy.name + " (Debian: " + proxy.name + ")")
			}
			port, err := testserver.FreePort()
			require.NoError(t, err)
			url := fmt.Sprint("http://127.0.0.1:", port)
			n := start(t, t.TempDir(), nil, "-store", "memory:", "-proxy", "127.0.0.1", "-origin", url)
			dir := t.TempDir()
			file := filepath.Join(dir, "conf")
			write(t, file, strings.NewReplacer("DIR", dir, "PORT", fmt.Sprint(port), "SERVER", n.url).Replace(proxy.conf), 0o600)
			for i, a := range proxy.args {
				proxy.args[i] = strings.Replace(a, "FILE", file, 1)
			}
			cmd := exec.Command(program, proxy.args...)
			cmd.Env = append(cmd.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
			var said bytes.Buffer
			cmd.Stderr = &said
			require.NoError(t, cmd.Start())
			t.Cleanup(func() {
				cmd.Process.Signal(os.Interrupt)
				cmd.Wait()
				if t.Failed() {
					t.Log(said.String())
				}
			})
			require.Eventually(t, func() bool {
				c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
				if err == nil {
					c.Close()
				}
				return err == nil
			}, 2*time.Minute, 10*time.Millisecond)

			p := &node{t: t, url: url}
			in := p.login("ada", n.password, "Origin: "+url)
			require.Equal(t, 303, in.StatusCode, in.body)
			require.Len(t, in.Cookies(), 1)
			assert.True(t, in.Cookies()[0].Secure)
			assert.Equal(t, 403, p.login("ada", n.password, "Origin: https://evil.example").StatusCode)
			session := in.session(t)

			const body = `{"name":"office","permissions":["devices:read"],"never":true,"allowed_networks":["127.0.0.2"]}`
			made := p.do("POST", "/manage/api/tokens", body, session, "Content-Type: application/json", "Origin: "+url)
			require.Equal(t, 201, made.StatusCode, made.body)
			var token struct {
				Token struct {
					ID string `json:"id"`
				} `json:"token"`
				Secret string `json:"secret"`
			}
			require.NoError(t, json.Unmarshal([]byte(made.body), &token))

			path := "/manage/api/tokens/" + token.Token.ID
			got := p.do("GET", path, "", session, "Accept-Encoding: gzip")
			require.Equal(t, "gzip", got.Header.Get("Content-Encoding"))
			tag := got.Header.Get("ETag")
			assert.Equal(t, proxy.weak, strings.HasPrefix(tag, "W/"), tag)
			for _, want := range []int{200, 412} {
				a := p.do("PATCH", path, `{"name":"renamed"}`, session, "Content-Type: application/json", "If-Match: "+tag)
				assert.Equal(t, want, a.StatusCode, a.body)
				tag = strings.Replace(tag, tag[len(tag)-4:len(tag)-1], "000", 1)
			}

			for from, want := range map[string]int{"127.0.0.2": 200, "127.0.0.3": 401} {
				dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
				transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
					return dialer.DialContext(ctx, network, addr)
				}}
				defer transport.CloseIdleConnections()
				r, err := http.NewRequest("GET", url+"/api/devices", nil)
				require.NoError(t, err)
				r.Header.Set("Authorization", "apiToken "+token.Secret)
				r.Header.Set("X-Forwarded-For", "127.0.0.2") // which anybody can say
				resp, err := transport.RoundTrip(r)
				require.NoError(t, err)
				resp.Body.Close()
				assert.Equal(t, want, resp.StatusCode, from)
				if want == 200 {
					assert.Contains(t, resp.Header["Vary"], "Authorization")
				}
			}
		})
	}
}
