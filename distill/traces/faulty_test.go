package traces_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	key   = "sk-secret-0123456789"
	model = "teacher-r1"
)

// answers are what the faulty teacher has to say to a question.
func answers(question string) (reasoning, content string) {
	return "Let me see. " + strings.Repeat(question+". ", 1+len(question)%5) + "Done: 数.", "The answer to " + question + " is \\boxed{7}.\n\nLine \"two\""
}

// reply is a chat completion that change has had its way with.
func reply(question string, change func(top, choice, message map[string]any)) []byte {
	reasoning, content := answers(question)
	message := map[string]any{"role": "assistant", "content": content, "reasoning_content": reasoning}
	choice := map[string]any{"index": 0, "finish_reason": "stop", "message": message}
	top := map[string]any{"id": "x", "object": "chat.completion", "model": model + "-0528", "choices": []any{choice}, "usage": map[string]any{"completion_tokens": len(content)}}
	if change != nil {
		change(top, choice, message)
	}
	text, err := json.Marshal(top)
	if err != nil {
		panic(err)
	}
	return text
}

// events is a completion as a stream.
func events(question string, change func(n int, piece map[string]any)) string {
	reasoning, content := answers(question)
	var b strings.Builder
	b.WriteString(": keep-alive\n\n")
	n := 0
	put := func(delta map[string]any, finish any) {
		piece := map[string]any{"id": "y", "model": model, "choices": []any{map[string]any{"index": 0, "delta": delta, "finish_reason": finish}}}
		if change != nil {
			change(n, piece)
		}
		n++
		text, _ := json.Marshal(piece)
		fmt.Fprintf(&b, "data: %s\n\n", text)
	}
	put(map[string]any{"role": "assistant", "content": nil}, nil)
	for _, r := range reasoning {
		put(map[string]any{"reasoning_content": string(r)}, nil)
	}
	put(map[string]any{"content": content}, nil)
	put(map[string]any{}, "stop")
	return b.String()
}

// good are the ways in which servers send one whole answer.
var good = map[string]func(w http.ResponseWriter, q string){
	"deepseek": func(w http.ResponseWriter, q string) { w.Write(append([]byte("\n\n\n"), reply(q, nil)...)) },
	"vllm": func(w http.ResponseWriter, q string) {
		w.Write(reply(q, func(_, _, m map[string]any) {
			m["reasoning"] = m["reasoning_content"]
			delete(m, "reasoning_content")
			m["tool_calls"] = []any{}
		}))
	},
	"no parser": func(w http.ResponseWriter, q string) {
		w.Write(reply(q, func(_, _, m map[string]any) {
			m["content"] = fmt.Sprintf("<think>\n%s\n</think>\n\n%s", m["reasoning_content"], m["content"])
			m["reasoning_content"] = nil
		}))
	},
	"in the prompt": func(w http.ResponseWriter, q string) {
		w.Write(reply(q, func(_, _, m map[string]any) {
			m["content"] = fmt.Sprintf("%s</think>%s", m["reasoning_content"], m["content"])
			m["refusal"] = nil
			delete(m, "reasoning_content")
		}))
	},
	"stream": func(w http.ResponseWriter, q string) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, events(q, nil)+"data: {\"id\":\"y\",\"model\":\""+model+"\",\"choices\":[],\"usage\":{\"completion_tokens\":9}}\n\ndata: [DONE]\n\n")
	},
	"stream, CRLF": func(w http.ResponseWriter, q string) {
		io.WriteString(w, strings.ReplaceAll(events(q, nil)+"data: [DONE]\n\n", "\n", "\r\n"))
	},
}

func status(code int, header ...string) func(http.ResponseWriter, string) {
	return func(w http.ResponseWriter, q string) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		w.Write(reply(q, nil)) // a whole answer even: the code counts
	}
}

func changed(change func(top, choice, message map[string]any)) func(http.ResponseWriter, string) {
	return func(w http.ResponseWriter, q string) { w.Write(reply(q, change)) }
}

func raw(text func(q string) string) func(http.ResponseWriter, string) {
	return func(w http.ResponseWriter, q string) { io.WriteString(w, text(q)) }
}

// hang up ends the connection after sending what comes before.
func hangUp(before func(q string) string) func(http.ResponseWriter, string) {
	return func(w http.ResponseWriter, q string) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			io.WriteString(conn, before(q))
			conn.Close()
		}
	}
}

var bomb = func() []byte { // 64 MiB of JSON string in 64 KiB
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, `{"choices":[{"message":{"content":"`)
	for range 64 {
		z.Write(bytes.Repeat([]byte("a"), 1<<20))
	}
	z.Close()
	return b.Bytes()
}()

// faults are the ways in which a reply breaks.
var faults = map[string]func(w http.ResponseWriter, q string){
	"429":       status(429),
	"429, wait": status(429, "Retry-After", "1"),
	"429, until": func(w http.ResponseWriter, q string) {
		status(429, "Retry-After", time.Now().UTC().Format(http.TimeFormat))(w, q)
	},
	"500":         status(500),
	"502":         status(502, "Content-Type", "text/html"),
	"503":         status(503, "Retry-After", "0"),
	"504":         status(504),
	"529":         status(529),
	"408":         status(408),
	"hang up":     hangUp(func(string) string { return "" }),
	"half a head": hangUp(func(string) string { return "HTTP/1.1 200 OK\r\nContent-Ty" }),
	"half a body": hangUp(func(q string) string {
		r := reply(q, nil)
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(r), r[:len(r)/2])
	}),
	"no length, half": hangUp(func(q string) string {
		r := reply(q, nil)
		return "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + string(r[:len(r)-1])
	}),
	"half a chunk": hangUp(func(q string) string {
		return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n" + string(reply(q, nil))
	}),
	"no last chunk": hangUp(func(q string) string {
		r := reply(q, nil)
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(r), r)
	}),
	"not HTTP": hangUp(func(string) string { return "SSH-2.0-OpenSSH_9.2\r\n" }),
	"stalls": func(w http.ResponseWriter, q string) {
		w.Write(reply(q, nil)[:20])
		w.(http.Flusher).Flush()
		time.Sleep(idle + time.Second)
	},
	"empty":      raw(func(string) string { return "" }),
	"HTML":       raw(func(string) string { return "<html><body>Just a moment...</body></html>" }),
	"cut JSON":   raw(func(q string) string { return string(reply(q, nil)[:120]) }),
	"two values": raw(func(q string) string { return string(reply(q, nil)) + string(reply(q, nil)) }),
	"a list":     raw(func(q string) string { return "[" + string(reply(q, nil)) + "]" }),
	"content twice": raw(func(q string) string {
		return strings.Replace(string(reply(q, nil)), `"content":`, `"content":"other","content":`, 1)
	}),
	"Content": raw(func(q string) string { return strings.Replace(string(reply(q, nil)), `"content":`, `"Content":`, 1) }),
	"not UTF-8": raw(func(q string) string {
		return strings.Replace(string(reply(q, nil)), "The answer", "The \xff answer", 1)
	}),
	"half a character": raw(func(q string) string {
		return strings.Replace(string(reply(q, nil)), "The answer", `The \ud83d answer`, 1)
	}),
	"gzip bomb":        func(w http.ResponseWriter, _ string) { w.Header().Set("Content-Encoding", "gzip"); w.Write(bomb) },
	"too long":         changed(func(_, _, m map[string]any) { m["content"] = strings.Repeat("a", 1<<17) }),
	"length":           changed(func(_, c, m map[string]any) { c["finish_reason"] = "length"; m["content"] = "The ans" }),
	"no finish":        changed(func(_, c, _ map[string]any) { c["finish_reason"] = nil }),
	"filtered":         changed(func(_, c, _ map[string]any) { c["finish_reason"] = "content_filter" }),
	"overloaded":       changed(func(_, c, _ map[string]any) { c["finish_reason"] = "insufficient_system_resource" }),
	"tool call":        changed(func(_, c, m map[string]any) { m["tool_calls"] = []any{map[string]any{"id": "1"}} }),
	"refusal":          changed(func(_, _, m map[string]any) { m["refusal"] = "I cannot" }),
	"no content":       changed(func(_, _, m map[string]any) { m["content"] = nil }),
	"blank content":    changed(func(_, _, m map[string]any) { m["content"] = " \n" }),
	"content a number": changed(func(_, _, m map[string]any) { m["content"] = 7 }),
	"content in parts": changed(func(_, _, m map[string]any) { m["content"] = []any{map[string]any{"type": "text", "text": "a"}} }),
	"no reasoning":     changed(func(_, _, m map[string]any) { delete(m, "reasoning_content") }),
	"two reasonings":   changed(func(_, _, m map[string]any) { m["reasoning"] = "another" }),
	"thinks on":        changed(func(_, _, m map[string]any) { m["content"] = "<think>more" }),
	"reasoning not over": changed(func(_, _, m map[string]any) {
		m["content"] = fmt.Sprint("<think>", m["reasoning_content"])
		delete(m, "reasoning_content")
	}),
	"a user":          changed(func(_, _, m map[string]any) { m["role"] = "user" }),
	"no message":      changed(func(_, c, _ map[string]any) { delete(c, "message") }),
	"no choices":      changed(func(t, _, _ map[string]any) { t["choices"] = []any{} }),
	"choices null":    changed(func(t, _, _ map[string]any) { t["choices"] = nil }),
	"two choices":     changed(func(t, c, _ map[string]any) { t["choices"] = []any{c, c} }),
	"second choice":   changed(func(_, c, _ map[string]any) { c["index"] = 1 }),
	"other model":     changed(func(t, _, _ map[string]any) { t["model"] = "gpt-2" }),
	"no model":        changed(func(t, _, _ map[string]any) { delete(t, "model") }),
	"error with 200":  changed(func(t, _, _ map[string]any) { t["error"] = map[string]any{"message": "overloaded, key " + key} }),
	"repeats the key": changed(func(_, _, m map[string]any) { m["content"] = "Authorization: Bearer " + key }),
	"stream, no end":  raw(func(q string) string { return events(q, nil) }),
	"stream, cut":     raw(func(q string) string { e := events(q, nil); return e[:len(e)/2] + "\n\ndata: [DONE]\n\n" }),
	"stream, a piece lost": raw(func(q string) string {
		e := events(q, nil)
		return e[:strings.LastIndex(e, "data: ")] + "data: [DONE]\n\n"
	}),
	"stream, of two": raw(func(q string) string {
		return events(q, func(n int, p map[string]any) { p["id"] = fmt.Sprint(n / 5) }) + "data: [DONE]\n\n"
	}),
	"stream, goes on": raw(func(q string) string { e := events(q, nil); return e + e + "data: [DONE]\n\n" }),
	"stream, error":   raw(func(q string) string { return events(q, nil) + "event: error\ndata: {}\n\ndata: [DONE]\n\n" }),
	"stream, broken": raw(func(q string) string {
		return strings.Replace(events(q, nil), `"delta"`, `"delta`, 1) + "data: [DONE]\n\n"
	}),
}

const idle = 3 * time.Second // long enough for a busy machine

// faulty is a teacher that breaks a share of its replies, each question's in an order of its own.
type faulty struct {
	share  uint32 // of 1,000
	always string // a fault or good form that every reply has

	requests atomic.Int64
	mu       sync.Mutex
	asked    map[string]int // by question
	whole    map[string]int // good replies sent, by question
	seen     map[string]int // faults sent, by name
}

func hash(parts ...any) uint32 {
	sum := sha256.Sum256(fmt.Append(nil, parts...))
	return binary.LittleEndian.Uint32(sum[:])
}

var goodNames, faultNames = names(good), names(faults)

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.requests.Add(1)
	var body struct {
		Model    string
		Messages []struct{ Role, Content string }
	}
	if json.NewDecoder(r.Body).Decode(&body) != nil || r.Header.Get("Authorization") != "Bearer "+key || body.Model != model || len(body.Messages) != 1 {
		w.WriteHeader(400)
		return
	}
	q := body.Messages[0].Content
	f.mu.Lock()
	n := f.asked[q]
	f.asked[q]++
	serve := faults[f.always]
	if serve == nil {
		serve = good[f.always]
	}
	if serve == nil {
		if hash("breaks", q, n)%1000 < f.share {
			name := faultNames[int(hash("how", q, n))%len(faultNames)]
			serve = faults[name]
			f.seen[name]++
		} else {
			serve = good[goodNames[int(hash("good", q, n))%len(goodNames)]]
			f.whole[q]++
		}
	}
	f.mu.Unlock()
	serve(w, q)
}

func newFaulty(share uint32, always string) *faulty {
	return &faulty{share: share, always: always, asked: map[string]int{}, whole: map[string]int{}, seen: map[string]int{}}
}

func TestFaultsAreMany(t *testing.T) {
	require.GreaterOrEqual(t, len(faults), 40)
}
