package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/apitokentest"
	"github.com/apitoken-go/apitoken/client"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

// These are clients that nobody here wrote: what they call the scheme or the
// type of a token is all that has to be set.

func service(t *testing.T) (url, token string) {
	auth := apitokentest.New(t, &catalog)
	server := httptest.NewServer(newHandler(auth))
	t.Cleanup(server.Close)
	return server.URL, apitokentest.Token(t, auth, readDevices, readMetrics)
}

const answer = "tester asks for device 42 (/devices/42)\n"

func TestRestySendsTokens(t *testing.T) {
	url, token := service(t)
	resp, err := resty.New().SetAuthScheme("apiToken").SetAuthToken(token).R().Get(url + "/devices/42")
	require.NoError(t, err)
	assert.Equal(t, answer, string(resp.Body()))

	resp, err = resty.New().R().SetQueryParam("apiToken", token).Get(url + "/devices/42")
	require.NoError(t, err)
	assert.Equal(t, answer, string(resp.Body()))

	var problem apitoken.Problem
	resp, err = resty.New().SetAuthScheme("apiToken").SetAuthToken(token).R().SetError(&problem).Delete(url + "/devices/42")
	require.NoError(t, err)
	assert.Equal(t, 403, resp.StatusCode())
	assert.Equal(t, []string{"devices:write"}, problem.Missing, "problem documents are JSON to it")
}

func TestOAuth2ClientsSendTokens(t *testing.T) {
	url, token := service(t)
	source := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token, TokenType: "apiToken"})
	resp, err := oauth2.NewClient(t.Context(), source).Get(url + "/devices/42")
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, answer, string(body))
}

func TestOurOwnTransportSendsTokens(t *testing.T) {
	url, token := service(t)
	transport, err := client.New(client.Config{Origin: url, Token: apitoken.NewSecret(token)})
	require.NoError(t, err)
	resp, err := (&http.Client{Transport: transport}).Get(url + "/devices/42")
	require.NoError(t, err)
	defer resp.Body.Close()
	assert.Equal(t, 200, resp.StatusCode)
}

func TestCurlSendsTokens(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("needs curl (Debian: curl)")
	}
	url, token := service(t)
	run := func(stdin string, args ...string) string {
		cmd := exec.CommandContext(t.Context(), curl, append([]string{"--silent", "--show-error", "--disable", "--noproxy", "*"}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return string(out)
	}
	assert.Equal(t, answer, run("", "--header", "Authorization: apiToken "+token, url+"/devices/42"))
	assert.Equal(t, answer, run("", "--get", "--data-urlencode", "apiToken="+token, url+"/devices/42"))
	assert.Equal(t, answer, run("Authorization: apiToken "+token+"\n", "--header", "@-", url+"/devices/42"), "out of the list of processes")
	assert.Equal(t, "403", run("", "--request", "DELETE", "--header", "Authorization: apiToken "+token, "--output", os.DevNull, "--write-out", "%{http_code}", url+"/devices/42"))
}

func TestPrometheusScrapes(t *testing.T) {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("needs Prometheus (Debian: prometheus)")
	}
	service, token := service(t)
	dir := t.TempDir()
	config := fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: header
    authorization: {type: apiToken, credentials: %[1]s}
    static_configs: [{targets: [%[2]q]}]
  - job_name: query
    params: {apiToken: [%[1]s]}
    static_configs: [{targets: [%[2]q]}]
  - job_name: bearer
    authorization: {credentials: %[1]s}
    static_configs: [{targets: [%[2]q]}]
  - job_name: none
    static_configs: [{targets: [%[2]q]}]
`, token, strings.TrimPrefix(service, "http://"))
	file := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	port, err := testserver.FreePort()
	require.NoError(t, err)
	address := fmt.Sprint("127.0.0.1:", port)
	var log strings.Builder
	cmd := exec.Command(program, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	}()

	// What it has got, by job.
	query := func(q string) map[string]string {
		resp, err := http.Get("http://" + address + "/api/v1/query?query=" + url.QueryEscape(q))
		if err != nil {
			return nil // not yet
		}
		defer resp.Body.Close()
		var result struct {
			Data struct {
				Result []struct {
					Metric struct{ Job string }
					Value  [2]any
				}
			}
		}
		if json.NewDecoder(resp.Body).Decode(&result) != nil {
			return nil
		}
		found := make(map[string]string)
		for _, r := range result.Data.Result {
			found[r.Metric.Job] = fmt.Sprint(r.Value[1])
		}
		return found
	}
	require.Eventually(t, func() bool { // every job has tried, and these have got something
		devices := query("last_over_time(devices[10m])") // a scrape may fail on a busy machine
		return len(query("up")) == 4 && devices["header"] != "" && devices["query"] != ""
	}, 2*time.Minute, 100*time.Millisecond)
	assert.Equal(t, map[string]string{"header": "1", "query": "1", "bearer": "0", "none": "0"}, query("max_over_time(up[10m])"))
	assert.Equal(t, map[string]string{"header": "42", "query": "42"}, query("last_over_time(devices[10m])"))
}
