//go:build ignore

// Picture draws what commands print on a terminal, as SVG.
//
//	go run .ci/picture.go [-C DIR] COMMAND... >FILE
//
// It needs script of util-linux for the terminal.
package main

import (
	"flag"
	"fmt"
	"html"
	"log"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// columns of the terminal. Longer lines go on in the next row, at a blank.
const columns = 108

// A style is what an escape sequence asks for.
type style struct {
	colour    string
	bold, dim bool
}

type cell struct {
	style
	r rune
}

var colours = map[string]string{"31": "#ff7b72", "32": "#7ee787", "33": "#e3b341", "36": "#79c0ff"}

func main() {
	dir := flag.String("C", ".", "run the commands in `DIR`")
	flag.Parse()
	var rows [][]cell
	for _, command := range flag.Args() {
		rows = append(rows, draw("\x1b[1;32m$\x1b[0m "+command)...)
		rows = append(rows, draw(run(*dir, command))...)
		rows = append(rows, nil)
	}
	write(rows[:len(rows)-1])
}

// run gives what a command prints on a terminal. Its exit status is part of the show.
func run(dir, command string) string {
	cmd := exec.Command("script", "-qec", command, "/dev/null")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TERM=xterm", "NO_COLOR=")
	out, err := cmd.Output()
	if _, ended := err.(*exec.ExitError); err != nil && !ended {
		log.Fatal(err)
	}
	return strings.ReplaceAll(string(out), "\r", "")
}

// draw makes a row of each line, or several of a long one.
func draw(text string) [][]cell {
	var rows [][]cell
	for line := range strings.Lines(text) {
		var row []cell
		now := style{}
		for i, piece := range strings.Split(strings.TrimRight(line, "\n"), "\x1b[") {
			if i > 0 {
				codes, rest, _ := strings.Cut(piece, "m")
				now.take(codes)
				piece = rest
			}
			for _, r := range piece {
				row = append(row, cell{now, r})
				if len(row) > columns {
					end := lastBlank(row)
					rows, row = append(rows, row[:end]), slices.Clone(row[end:])
				}
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// lastBlank is behind the last blank, or at the end where there is none.
func lastBlank(row []cell) int {
	for i := len(row) - 1; i > 0; i-- {
		if row[i-1].r == ' ' {
			return i
		}
	}
	return len(row) - 1
}

func (s *style) take(codes string) {
	for code := range strings.SplitSeq(codes, ";") {
		switch code {
		case "", "0":
			*s = style{}
		case "1":
			s.bold = true
		case "2":
			s.dim = true
		default:
			s.colour = colours[code]
		}
	}
}

// write prints the picture. A character of a font such as this is 0.6 of its size wide.
func write(rows [][]cell) {
	const size, leading = 14, 20
	width, height := columns*size*6/10+40, len(rows)*leading+40
	fmt.Printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace" font-size="%d" role="img">`+"\n",
		width, height, size)
	fmt.Println("<title>kstage in a terminal</title>")
	fmt.Printf(`<rect width="%d" height="%d" rx="8" fill="#0d1117"/>`+"\n"+`<g fill="#e6edf3">`+"\n", width, height)
	for i, row := range rows {
		fmt.Printf(`<text x="20" y="%d">%s</text>`+"\n", 32+i*leading, spans(row))
	}
	fmt.Println("</g>\n</svg>")
}

// spans writes neighbours of the same style together.
func spans(row []cell) string {
	var out strings.Builder
	for len(row) > 0 {
		n := 1
		for n < len(row) && row[n].style == row[0].style {
			n++
		}
		var text strings.Builder
		for _, c := range row[:n] {
			text.WriteRune(c.r)
		}
		kept := strings.ReplaceAll(text.String(), " ", "\u00a0") // browsers leave blanks out
		out.WriteString(row[0].span(html.EscapeString(kept)))
		row = row[n:]
	}
	return out.String()
}

func (s style) span(text string) string {
	attributes := ""
	if s.colour != "" {
		attributes += fmt.Sprintf(" fill=%q", s.colour)
	}
	if s.bold {
		attributes += ` font-weight="bold"`
	}
	if s.dim {
		attributes += ` fill-opacity="0.65"`
	}
	if attributes == "" {
		return text
	}
	return "<tspan" + attributes + ">" + text + "</tspan>"
}
