//go:build !race

// The race detector takes several times the memory of the program that it watches.

package main

import (
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// A run on a folder of pictures, with its data, its decoding and all that it draws, ends within the memory that it announced,
// the program's own not counted, as the system measures it.
func TestRunEndsWithinWhatItAnnounces(t *testing.T) {
	dir := t.TempDir()
	m := image.NewRGBA(image.Rect(0, 0, 256, 256))
	for i := range m.Pix {
		m.Pix[i] = uint8(i / 7)
	}
	for i := range 500 {
		path := filepath.Join(dir, "pictures", fmt.Sprintf("%03d.png", i))
		if i > 0 { // 98 MB of pixels in one file's bytes
			if err := os.Link(filepath.Join(dir, "pictures", "000.png"), path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.Mkdir(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := png.Encode(f, m); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	config := write(t, []byte(`
model:
  name: small
  input: [256, 256, 3]
  encoder:
    - conv2d: {filters: 4, kernel: 3, stride: 2, activation: relu}
  decoder:
    - upsampling2d: {size: 2}
    - conv2d: {filters: 3, kernel: 3, activation: sigmoid}
training: {epochs: 1, batch: 4}
`), dir, "small.yaml")
	p := program(t, "train", config, "--data", filepath.Join(dir, "pictures"), "--validation", "0.02", "--out", filepath.Join(dir, "run"), "--device", "cpu")
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	peak := make(chan int)
	go func() { peak <- peakOf(p.Process.Pid) }()
	if status := p.wait(); status != 0 {
		t.Fatalf("status %d: %s", status, p.stderr.String())
	}
	announced := 0
	for _, m := range regexp.MustCompile(`bytes=(\d+)`).FindAllStringSubmatch(p.stderr.String(), -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		announced += n
	}
	taken := <-peak
	if taken < announced/2 {
		t.Errorf("%d bytes were taken: the process was not watched", taken)
	}
	t.Logf("%d bytes were taken, %d announced", taken, announced)
	if taken > announced+ownBytes {
		t.Errorf("%d bytes were taken, %d announced", taken, announced)
	}
}

// peakOf is the most memory that a process has taken until it ends. What wait says of that is no less than what the process that started it has
// taken, whose memory it shares until it begins.
func peakOf(pid int) (bytes int) {
	for {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(text)
		if err != nil || m == nil && bytes > 0 { // it has ended, or has given its memory back
			return bytes
		}
		if m != nil {
			n, _ := strconv.Atoi(string(m[1]))
			bytes = 1024 * n
		}
		time.Sleep(time.Millisecond)
	}
}
