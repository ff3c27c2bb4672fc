package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// reply is an answer over HTTP.
type reply struct {
	status int
	header http.Header
	body   string
}

// has fills into with the body.
func (r reply) has(t *testing.T, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.body), into); err != nil {
		t.Fatalf("%d %s: %v", r.status, r.body, err)
	}
}

// code is the code of an error.
func (r reply) code() string {
	var e struct {
		Error struct{ Code, Message string }
	}
	_ = json.Unmarshal([]byte(r.body), &e)
	return e.Error.Code
}

var client = &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 100}}

// send makes a request; header is name, value, name, value and so on.
func send(method, addr, path, body string, header ...string) (reply, error) {
	req, err := http.NewRequest(method, "http://"+addr+path, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(text)}, err
}

func (p *process) send(t *testing.T, method, path, body string, header ...string) reply {
	t.Helper()
	r, err := send(method, p.addr, path, body, header...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}
