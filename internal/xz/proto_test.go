package xz

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func cpu() time.Duration {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
	return time.Duration(ts.Nano())
}

func TestProto(t *testing.T) {
	runtime.LockOSThread()
	list, _ := os.ReadFile("/tmp/xzlist40")
	var files [][]byte
	for _, n := range strings.Fields(string(list)) {
		b, _ := os.ReadFile(n)
		files = append(files, b)
	}
	reps, _ := strconv.Atoi(os.Getenv("REPS"))
	if reps == 0 {
		reps = 20
	}
	best := make([]time.Duration, len(files))
	var d Decoder
	var out []byte
	var err error
	n := 0
	for r := range reps {
		n = 0
		for i, f := range files {
			t0 := cpu()
			out, err = d.DecodeAll(out[:0], f, 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			t1 := cpu() - t0
			if r == 0 || t1 < best[i] {
				best[i] = t1
			}
			n += len(out)
		}
	}
	var sum time.Duration
	for _, b := range best {
		sum += b
	}
	fmt.Printf("go: %d bytes %.4f s %.1f MB/s\n", n, sum.Seconds(), float64(n)/1e6/sum.Seconds())
}
