package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kstage/kstage/internal/kotest"
	"github.com/kstage/kstage/modinfo"
)

// Names that would do harm as markup, in a script or in an attribute.
const (
	harmfulFile   = `<img src=x onerror=document.title=1>`
	harmfulScript = `</script><script>document.title=2;`
	harmfulText   = `"><svg/onload=document.title=3>'` + "`${document.title=4}"
)

// reportedTree is a small tree with a page worth clicking through: mid needs base, top
// needs mid and would like extra, lost needs what nobody has.
func reportedTree(t *testing.T) string {
	const dir = "lib/modules/6.1.0/kernel/"
	tree := map[string]string{
		"lib/modules/6.1.0/Module.symvers": "0x00000000\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n",
		dir + "base.ko":                    "modinfo license=GPL\nmodinfo version=1.2.3\nexport of_base\nneed printk",
		dir + "mid.ko":                     "modinfo license=GPL\nmodinfo description=" + harmfulText + "\nexport of_mid\nneed of_base",
		dir + "top.ko":                     "modinfo license=GPL\nmodinfo softdep=pre: extra\nneed of_mid",
		dir + "extra.ko.xz":                "modinfo license=GPL\nneed printk",
		dir + "lost.ko":                    "modinfo license=GPL\nneed nobody_has_it",
		"bin/sh":                           strings.Repeat("x", 50000),
		"lib/firmware/a.bin":               strings.Repeat("y", 30000),
		"etc/" + harmfulFile:               strings.Repeat("z", 20000),
	}
	root := kotest.Dir(t, tree)
	if err := os.MkdirAll(filepath.Join(root, "etc", filepath.FromSlash(harmfulScript)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "etc", filepath.FromSlash(harmfulScript), "f"), make([]byte, 9000), 0o644); err != nil {
		t.Fatal(err)
	}
	return root
}

// report runs the command and gives the page.
func report(t *testing.T, args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.html")
	var stdout, stderr bytes.Buffer
	if code := run(append([]string{"report", "--no-cache", "-o", file}, args...), &stdout, &stderr); code != exitOK {
		t.Fatalf("exit status %d: %s", code, &stderr)
	}
	return file
}

// TestReportInBrowser clicks through the page of a small tree.
func TestReportInBrowser(t *testing.T) {
	b, root := openTab(t), reportedTree(t)
	page := report(t, root)
	title := escape(filepath.Base(root)) + " · kstage report"
	b.window(1280, 900, "light")
	b.open(page)
	b.want("document.title", title)
	t.Run("space", func(t *testing.T) { b.t = t; clickSpace(b) })
	t.Run("modules", func(t *testing.T) { b.t = t; clickModules(b) })
	t.Run("theme", func(t *testing.T) { b.t = t; clickTheme(b) })
	b.t = t
	b.want("document.querySelector('#findings details.error').textContent.includes('nobody_has_it')", true)
	b.want("document.title", title)
	b.want("document.querySelectorAll('img, script').length", 2) // data and ours
	b.quiet(page)
}

func clickSpace(b *tab) {
	b.want(`[...document.querySelectorAll("#treemap .box > text")].some((e) => e.textContent.startsWith("<img"))`, true)
	b.click(`[...document.querySelectorAll("#treemap svg > .box")].find((e) => e.getAttribute("aria-label").startsWith("etc:"))`)
	b.want("location.hash", "#space/etc")
	b.want("document.querySelector('#crumbs b').textContent", "etc")
	// By keyboard into the directory whose name would end the script, and back.
	b.eval("document.querySelector('#treemap [tabindex=\"0\"]').focus()")
	b.press("ArrowRight", "")
	b.press("Enter", "\r")
	b.want("[...document.querySelectorAll('#crumbs b, #crumbs button')].map((e) => e.textContent).join('/')", "all/etc/"+harmfulScript)
	b.press("Backspace", "")
	b.want("document.querySelector('#crumbs b').textContent", "etc")
	b.press("Backspace", "")
	b.want("document.querySelector('#crumbs b').textContent", "all")
	b.want("document.activeElement.closest('#treemap') !== null", true)
	// The boxes are as large as the files that they stand for.
	b.want(`(() => {
		const box = (name) => [...document.querySelectorAll("#treemap svg > .box")].find((e) => e.getAttribute("aria-label").startsWith(name));
		const area = (e) => e.firstChild.getAttribute("width") * e.firstChild.getAttribute("height");
		return (area(box("bin/sh:") || box("bin:")) / area(box("etc:"))).toFixed(2) })()`, fmt.Sprintf("%.2f", 50000.0/29000))
}

func clickModules(b *tab) {
	const nodes = `[...document.querySelectorAll("#module .node text")].map((e) => e.textContent).join(" ")`
	b.want("document.querySelector('#module h3').textContent", "lost") // it would not load
	b.press("/", "/")
	b.want("document.activeElement.id", "filter")
	for _, c := range "mid" {
		b.press(string(c), string(c))
	}
	b.want("document.querySelector('#matches').textContent", "1 of 5 modules")
	b.press("ArrowDown", "")
	b.press("Enter", "\r")
	b.want("document.querySelector('#module h3').textContent", "mid")
	b.want(nodes, "top mid base")
	b.want("document.querySelector('#module .hint').textContent.includes('"+`"><svg/onload=`+"')", true)
	b.click(`document.querySelector("#module a.node[href$=top]")`)
	b.want("location.hash", "#module/6.1.0/top")
	b.want(nodes, "top mid extra") // the last one is wanted, not needed
	b.want("document.querySelectorAll('.edge.soft').length", 1)
	b.click(`document.querySelectorAll("#module .depth button")[1]`)
	b.want(nodes, "top mid extra base")
	b.want("[...document.querySelectorAll('#module dt')].map((e) => e.textContent).includes('Wants besides')", true)
	b.eval("history.back()")
	b.want("document.querySelector('#module h3').textContent", "mid")
	b.eval(`document.querySelector("#filter").value = ""; document.querySelector("#state").value = "fails"; document.querySelector("#state").dispatchEvent(new Event("input"))`)
	b.want("document.querySelector('#table tbody').rows[0].cells[0].textContent", "lost would not load")
}

func clickTheme(b *tab) {
	const paper = "getComputedStyle(document.body).backgroundColor"
	light := b.eval(paper)
	b.click("document.querySelector('#theme')")
	dark := b.eval(paper)
	if light == dark {
		b.t.Errorf("the switch leaves the color at %v", dark)
	}
	b.window(1280, 900, "dark") // what was chosen stays
	b.want(paper, dark)
	b.click("document.querySelector('#theme')")
	b.want(paper, light)
}

// TestReportDrawnOnce: a treemap that is drawn again when the first frame comes takes
// away the box on which somebody has just pressed the mouse, and the click is lost.
func TestReportDrawnOnce(t *testing.T) {
	b, page := openTab(t), report(t, reportedTree(t))
	b.window(1280, 900, "light")
	b.call("Page.addScriptToEvaluateOnNewDocument", fields{"source": `addEventListener("DOMContentLoaded", () => {
		window.drawn = 0;
		new MutationObserver((all) => { window.drawn += all.length; }).observe(document.querySelector("#treemap"), { childList: true });
	})`}, nil)
	b.open(page)
	b.want("window.drawn", 1)
	b.window(900, 900, "light")
	b.want("window.drawn", 2)
}

// TestReportFits: nothing sticks out, in a phone's width and a desktop's.
func TestReportFits(t *testing.T) {
	b, page := openTab(t), report(t, reportedTree(t))
	for _, width := range []int{1280, 390} {
		for _, scheme := range []string{"light", "dark"} {
			b.window(width, 900, scheme)
			b.open(page)
			b.want("document.documentElement.scrollWidth", width)
			b.screenshot(scheme + map[bool]string{true: "-phone", false: ""}[width < 500])
		}
	}
	b.quiet(page)
}

// TestReportPrints: on paper it is dark on white whatever the screen is, without what
// can only be used on a screen, and what is folded is there.
func TestReportPrints(t *testing.T) {
	b, page := openTab(t), report(t, reportedTree(t))
	b.window(794, 1123, "dark")
	b.open(page)
	b.click("document.querySelector('#theme')") // also when a theme was chosen
	b.click("document.querySelector('#theme')")
	b.eval(`addEventListener("beforeprint", () => window.folded = document.querySelectorAll("details:not([open])").length)`)
	b.want("document.querySelectorAll('details:not([open])').length > 0", true)
	var pdf struct{ Data []byte }
	b.call("Page.printToPDF", fields{"printBackground": true}, &pdf)
	if !bytes.HasPrefix(pdf.Data, []byte("%PDF")) {
		t.Errorf("no PDF but %.20q", pdf.Data)
	}
	b.want("window.folded", 0)
	b.want("document.querySelectorAll('details:not([open])').length > 0", true)
	b.call("Emulation.setEmulatedMedia", fields{"media": "print", "features": []fields{{"name": "prefers-color-scheme", "value": "dark"}}}, nil)
	b.want("getComputedStyle(document.body).backgroundColor", "rgb(255, 255, 255)")
	b.want("getComputedStyle(document.querySelector('#list')).display", "none")
	b.screenshot("print")
	b.quiet(page)
}

// reportData is the part of the page's JSON that the tests look at.
type reportData struct {
	Kernels []struct {
		Dir     string
		Modules []pageModule
	}
}

func readReportData(t *testing.T, file string) (d reportData) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), `<script type="application/json" id="data">`)
	text, _, _ := strings.Cut(rest, "</script>")
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestReportOfLab: the page of an image with all modules of a distribution is of a
// size that can be mailed, opens, and says of each module what its maker wrote into it
// as its dependencies (modpost, depends=).
func TestReportOfLab(t *testing.T) {
	tree := kotest.LabTree(t, "xz")
	image := filepath.Join(t.TempDir(), "lab.img")
	var stdout, stderr bytes.Buffer
	if code := run([]string{"pack", tree, "-o", image}, &stdout, &stderr); code != exitOK {
		t.Fatal(&stderr)
	}
	page := report(t, image)
	if info, err := os.Stat(page); err != nil || info.Size() > 1_500_000 {
		t.Errorf("the page: %v, %v", info.Size(), err)
	}
	kernel := readReportData(t, page).Kernels[0]
	if len(kernel.Modules) != 3103 {
		t.Fatalf("%d modules", len(kernel.Modules))
	}
	for _, one := range kernel.Modules {
		if !strings.HasPrefix(one.Path, "kernel/fs/") {
			continue
		}
		info, err := modinfo.ReadFile(filepath.Join(tree, kernel.Dir, one.Path))
		if err != nil {
			t.Fatal(err)
		}
		field, _ := info.Get("depends")
		want := strings.FieldsFunc(strings.ReplaceAll(field, "-", "_"), func(c rune) bool { return c == ',' })
		var got []string
		for _, need := range one.Needs {
			got = append(got, kernel.Modules[int(need[0].(float64))].Name)
		}
		slices.Sort(want)
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s: needs %v, its maker says %v", path.Base(one.Path), got, want)
		}
	}
	b := openTab(t)
	b.window(1280, 900, "light")
	b.open(page)
	t.Logf("it opens in %v ms", b.eval("Math.round(performance.getEntriesByType('navigation')[0].loadEventEnd)"))
	b.want("document.querySelector('#matches').textContent", "3,103 modules")
	b.want("document.querySelectorAll('#treemap .box').length > 500", true)
	b.eval("location.hash = '#module/" + path.Base(kernel.Dir) + "/ext4'")
	b.want("document.querySelector('#module .node.focus text').textContent", "ext4")
	b.want("[...document.querySelectorAll('#module .node text')].some((e) => e.textContent === 'jbd2')", true)
	b.screenshot("lab")
	b.quiet(page)
}
