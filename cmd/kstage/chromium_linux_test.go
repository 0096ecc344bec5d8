package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A tab is a page in a headless Chromium, driven by the DevTools protocol through two
// pipes: JSON messages that end in a zero byte
// (https://chromedevtools.github.io/devtools-protocol/).
type tab struct {
	t       *testing.T
	to      *os.File
	from    *bufio.Reader
	session string
	id      int

	loads    int      // of pages
	faults   []string // errors and warnings that the page caused
	requests []string // URLs
}

// findChromium is the browser's path. Debian's package is chromium-headless-shell.
func findChromium(t *testing.T) string {
	for _, name := range []string{"chromium-headless-shell", "chromium", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("there is no Chromium")
	}
	t.Skip("there is no Chromium: apt-get install chromium-headless-shell")
	return ""
}

// openTab starts a browser that ends with the test.
func openTab(t *testing.T) *tab {
	path := findChromium(t)
	theirIn, in, err1 := os.Pipe()
	out, theirOut, err2 := os.Pipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	profile, err := os.MkdirTemp("", "kstage-chromium-") //nolint:usetesting // processes of the browser outlive it for a moment
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
		"--remote-debugging-pipe", "--user-data-dir="+profile)
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4 there
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirIn.Close()
	theirOut.Close()
	hung := time.AfterFunc(3*time.Minute, func() { _ = cmd.Process.Kill() }) // reading ends then
	b := &tab{t: t, to: in, from: bufio.NewReader(out)}
	t.Cleanup(func() {
		b.session = ""
		if !t.Failed() {
			b.call("Browser.close", nil, nil)
		} else {
			_ = cmd.Process.Kill()
		}
		_ = cmd.Wait() // how it ends does not matter
		hung.Stop()
		in.Close()
		out.Close()
		for tries := 0; os.RemoveAll(profile) != nil && tries < 50; tries++ {
			time.Sleep(100 * time.Millisecond)
		}
	})
	var target struct{ TargetID, SessionID string }
	b.call("Target.createTarget", fields{"url": "about:blank"}, &target)
	b.call("Target.attachToTarget", fields{"targetId": target.TargetID, "flatten": true}, &target)
	b.session = target.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		b.call(domain+".enable", nil, nil)
	}
	return b
}

// fields are the parameters of a method.
type fields = map[string]any

// message is what the browser sends: the answer to a call, or an event.
type message struct {
	ID     int
	Method string
	Params json.RawMessage
	Result json.RawMessage
	Error  *struct{ Message string }
}

// call calls a method, and takes in the events until its answer comes.
func (b *tab) call(method string, params fields, result any) {
	b.t.Helper()
	b.id++
	request := fields{"id": b.id, "method": method, "params": params}
	if b.session != "" {
		request["sessionId"] = b.session
	}
	data, err := json.Marshal(request)
	if err == nil {
		_, err = b.to.Write(append(data, 0))
	}
	if err != nil {
		b.t.Fatal(err)
	}
	for {
		answer := b.receive()
		if answer.ID != b.id {
			continue
		}
		if answer.Error != nil {
			b.t.Fatalf("%s: %s", method, answer.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(answer.Result, result); err != nil {
				b.t.Fatalf("%s: %v", method, err)
			}
		}
		return
	}
}

func (b *tab) receive() (answer message) {
	b.t.Helper()
	data, err := b.from.ReadBytes(0)
	if err != nil {
		b.t.Fatalf("the browser has gone: %v", err)
	}
	if err := json.Unmarshal(data[:len(data)-1], &answer); err != nil {
		b.t.Fatal(err)
	}
	switch answer.Method {
	case "Page.loadEventFired":
		b.loads++
	case "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded":
		b.faults = append(b.faults, string(answer.Params))
	case "Network.requestWillBeSent":
		var p struct{ Request struct{ URL string } }
		_ = json.Unmarshal(answer.Params, &p) // empty is as bad
		b.requests = append(b.requests, p.Request.URL)
	}
	return answer
}

// window sets the size and the color scheme, light or dark.
func (b *tab) window(width, height int, scheme string) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", fields{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}, nil)
	b.call("Emulation.setEmulatedMedia", fields{"features": []fields{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// open loads a file and waits until it is there and painted.
func (b *tab) open(file string) {
	b.t.Helper()
	before := b.loads
	b.call("Page.navigate", fields{"url": "file://" + file}, nil)
	for b.loads == before {
		b.receive()
	}
	b.eval("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
}

// eval runs an expression in the page.
func (b *tab) eval(expression string) any {
	b.t.Helper()
	var answer struct {
		Result           struct{ Value any }
		ExceptionDetails *struct{ Exception struct{ Description string } }
	}
	b.call("Runtime.evaluate", fields{"expression": expression, "returnByValue": true, "awaitPromise": true}, &answer)
	if e := answer.ExceptionDetails; e != nil {
		b.t.Fatalf("%s: %s", expression, e.Exception.Description)
	}
	return answer.Result.Value
}

// want demands the value of an expression, which the page may take a moment to reach.
func (b *tab) want(expression string, want any) {
	b.t.Helper()
	var got any
	for range 100 {
		if got = b.eval(expression); fmt.Sprint(got) == fmt.Sprint(want) {
			return
		}
		b.eval("new Promise((done) => setTimeout(done, 50))")
	}
	b.t.Errorf("%s is %q, want %q", expression, fmt.Sprint(got), fmt.Sprint(want))
}

// click presses the mouse on the element that an expression gives: in its upper left
// corner, where a box of the treemap is itself and not what is in it.
func (b *tab) click(element string) {
	b.t.Helper()
	at, ok := b.eval(`(() => { const e = ` + element + `; e.scrollIntoView({ block: "center" });
		const r = e.getBoundingClientRect(); return [r.x + Math.min(6, r.width / 2), r.y + Math.min(6, r.height / 2)] })()`).([]any)
	if !ok {
		b.t.Fatalf("%s is nowhere", element)
	}
	for _, kind := range []string{"mousePressed", "mouseReleased"} {
		b.call("Input.dispatchMouseEvent", fields{"type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1}, nil)
	}
}

// press presses a key; text is what it types, if anything.
func (b *tab) press(key, text string) {
	b.t.Helper()
	codes := map[string]int{"Enter": 13, "Backspace": 8, "Tab": 9, "ArrowDown": 40, "ArrowRight": 39}
	b.call("Input.dispatchKeyEvent", fields{"type": "keyDown", "key": key, "text": text, "windowsVirtualKeyCode": codes[key]}, nil)
	b.call("Input.dispatchKeyEvent", fields{"type": "keyUp", "key": key, "windowsVirtualKeyCode": codes[key]}, nil)
}

// screenshot keeps a picture of the whole page for a person: go test -artifacts.
func (b *tab) screenshot(name string) {
	b.t.Helper()
	var shot struct{ Data string }
	b.call("Page.captureScreenshot", fields{"captureBeyondViewport": true}, &shot)
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(filepath.Join(b.t.ArtifactDir(), name+".png"), data, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// quiet demands that nothing was said on the console and nothing but the file asked for.
func (b *tab) quiet(file string) {
	b.t.Helper()
	for _, fault := range b.faults {
		b.t.Errorf("console: %s", fault)
	}
	for _, url := range b.requests {
		if url != "file://"+file && url != "about:blank" {
			b.t.Errorf("the page asks for %s", url)
		}
	}
}
