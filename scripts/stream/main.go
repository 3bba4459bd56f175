// Command stream checks training on many pictures. It writes pictures of mixed sizes, trains on them once without a break, and once
// killed at random moments and gone on with, and says what memory that took, how fast it was, and whether the two runs have the same bits.
//
//	go run ./scripts/stream [-pictures 100000] [-kills 3] FOLDER
//
// FOLDER is kept, with the pictures, for the next time. Linux only, for the memory.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/convae/convae/trainer/dataset"
)

const config = `model:
  name: stream
  input: [48, 48, 3]
  encoder:
    - conv2d: {filters: 16, kernel: 3, stride: 2, activation: relu}
    - conv2d: {filters: 16, kernel: 3, stride: 2, activation: relu}
  decoder:
    - upsampling2d: {size: 2}
    - conv2d: {filters: 16, kernel: 3, activation: relu}
    - upsampling2d: {size: 2}
    - conv2d: {filters: 3, kernel: 3, activation: sigmoid}
data:
  name: images
  dir: %s
  stream: true
  augment: {crop: random, flip: horizontal, rotate: true, brightness: 0.2, saturation: 0.2}
training:
  epochs: 2
  batch: 128
  loss: mse
  checkpoint_steps: 50
`

func main() {
	log.SetFlags(0)
	pictures := flag.Int("pictures", 100_000, "how many there are")
	kills := flag.Int("kills", 3, "how often the second run is killed")
	flag.Parse()
	if flag.NArg() != 1 || *pictures < 1000 {
		log.Fatal("usage: go run ./scripts/stream [-pictures N, 1000 or more] [-kills N] FOLDER")
	}
	if err := check(flag.Arg(0), *pictures, *kills); err != nil {
		log.Fatal(err)
	}
}

func check(dir string, pictures, kills int) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	folder := filepath.Join(dir, strconv.Itoa(pictures))
	if _, err := os.Stat(folder); err != nil {
		if err := write(folder, pictures); err != nil {
			return err
		}
	}
	convae := filepath.Join(dir, "convae")
	if out, err := exec.Command("go", "build", "-o", convae, "./cmd/convae").CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, out)
	}
	yaml := filepath.Join(dir, "stream.yaml")
	if err := os.WriteFile(yaml, fmt.Appendf(nil, config, folder), 0o666); err != nil {
		return err
	}
	var models [2][]byte
	var took time.Duration // of the run without a break
	for i, name := range []string{"whole", "killed"} {
		run := filepath.Join(dir, name)
		if err := os.RemoveAll(run); err != nil {
			return err
		}
		began := time.Now()
		for left := kills * i; ; left-- {
			wait := 24 * time.Hour
			if left > 0 {
				wait = time.Duration((0.1 + 0.3*rand.Float64()) * float64(took))
			}
			peak, announced, waited, ended, err := train(convae, yaml, run, wait)
			if err != nil {
				return err
			}
			fmt.Printf("%s: peak memory %d MB, announced %s, waited for data %s of the time at the last line, ended by itself: %v\n", name, peak>>20, announced, waited, ended)
			if ended {
				break
			}
		}
		if i == 0 {
			took = time.Since(began)
		}
		fmt.Printf("%s: %.0f s in all\n", name, time.Since(began).Seconds())
		if models[i], err = os.ReadFile(filepath.Join(run, "model.safetensors")); err != nil {
			return err
		}
	}
	if !bytes.Equal(models[0], models[1]) {
		return fmt.Errorf("the run that was killed ended with other bits")
	}
	fmt.Println("both runs have the same bits")
	return nil
}

// write writes parts of drawn scenes, of different sizes, as JPEG and PNG files in 100 folders.
func write(folder string, n int) error {
	const side = 200
	scenes, err := dataset.Scenes(500, side, side, 3, 1)
	if err != nil {
		return err
	}
	temp := folder + ".part"
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		whole := image.NewRGBA(image.Rect(0, 0, side, side))
		for p, v := range scenes.Image(i % scenes.Len()) {
			whole.Pix[p/3*4+p%3] = v
		}
		for p := 3; p < len(whole.Pix); p += 4 {
			whole.Pix[p] = 255
		}
		w, h := 40+r.IntN(side-40), 40+r.IntN(side-40)
		part := whole.SubImage(image.Rect(0, 0, w, h).Add(image.Pt(r.IntN(side-w+1), r.IntN(side-h+1))))
		var buf bytes.Buffer
		name := fmt.Sprintf("%06d.jpg", i)
		if err = jpeg.Encode(&buf, part, &jpeg.Options{Quality: 85}); i%10 == 0 {
			buf.Reset()
			name = fmt.Sprintf("%06d.png", i)
			err = png.Encode(&buf, part)
		}
		if err != nil {
			return err
		}
		in := filepath.Join(temp, fmt.Sprintf("%02d", i%100))
		if err := os.MkdirAll(in, 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(in, name), buf.Bytes(), 0o666); err != nil {
			return err
		}
	}
	return os.Rename(temp, folder)
}

var (
	peakLine  = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)
	hostBytes = regexp.MustCompile(`bytes=(\d+) .*host_bytes=(\d+)`)
	waits     = regexp.MustCompile(`waits_for_data=([\d.]+)`)
)

// train trains, or goes on with a run, and kills it after a while.
func train(convae, config, run string, wait time.Duration) (peak int, announced, waited string, ended bool, err error) {
	var log bytes.Buffer
	c := exec.Command(convae, "train", config, "--continue", "--out", run, "--log", "lines")
	c.Stderr = &log
	if err := c.Start(); err != nil {
		return 0, "", "", false, err
	}
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	after := time.After(wait)
	for killed := false; ; {
		select {
		case err := <-done:
			if err != nil && !killed {
				return 0, "", "", false, fmt.Errorf("convae train: %w: %s", err, log.String())
			}
			announced, waited = "?", "?"
			if m := hostBytes.FindStringSubmatch(log.String()); m != nil {
				device, _ := strconv.Atoi(m[1])
				host, _ := strconv.Atoi(m[2])
				announced = fmt.Sprintf("%d MB", (device+host)>>20)
			}
			if m := waits.FindAllStringSubmatch(log.String(), -1); m != nil {
				waited = m[len(m)-1][1]
			}
			return peak, announced, waited, !killed, nil
		case <-after:
			killed = true
			if err := c.Process.Kill(); err != nil {
				return 0, "", "", false, err
			}
		case <-time.After(20 * time.Millisecond):
			if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Process.Pid)); err == nil {
				if m := peakLine.FindSubmatch(status); m != nil {
					kilobytes, _ := strconv.Atoi(string(m[1]))
					peak = max(peak, kilobytes<<10)
				}
			}
		}
	}
}
