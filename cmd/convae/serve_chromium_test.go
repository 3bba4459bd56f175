package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// complaints are what a browser's console has of errors.
type complaints struct {
	mu   sync.Mutex
	said []string
}

func (c *complaints) hear(event any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		c.said = append(c.said, e.ExceptionDetails.Error())
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.APITypeError || e.Type == runtime.APITypeWarning {
			c.said = append(c.said, fmt.Sprint("console: ", e.Args))
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.LevelError {
			c.said = append(c.said, fmt.Sprintf("%s %s", e.Entry.Text, e.Entry.URL))
		}
	}
}

// browser opens a page of the address in a Chromium of its own, of that many pixels.
func browser(t *testing.T, url string, width, height int64) (context.Context, *complaints) {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox) // the tests of CI run as root, which its sandbox refuses
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithErrorf(func(string, ...any) {})) // it speaks of events that it does not know
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	c := new(complaints)
	chromedp.ListenTarget(ctx, c.hear)
	act(t, ctx, chromedp.EmulateViewport(width, height), log.Enable(), chromedp.Navigate(url))
	return ctx, c
}

func act(t *testing.T, ctx context.Context, actions ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(ctx, actions...); err != nil {
		var text string
		_ = chromedp.Run(ctx, chromedp.Evaluate(`document.body.innerText`, &text))
		t.Fatalf("%v; the page says:\n%s", err, text)
	}
}

// until waits for an expression of JavaScript to be true.
func until(t *testing.T, ctx context.Context, expression string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var done bool
	if err := chromedp.Run(ctx, chromedp.Poll(expression, &done, chromedp.WithPollingInterval(50*time.Millisecond))); err != nil {
		t.Fatalf("waiting for %s: %v", expression, err)
	}
}

// screenshot takes one of the page where the environment says so, for a person to look at.
func screenshot(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	dir := os.Getenv("CONVAE_TEST_SCREENSHOTS")
	if dir == "" {
		return
	}
	for _, scheme := range []string{"light", "dark"} {
		var png []byte
		act(t, ctx, emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}), chromedp.Sleep(300*time.Millisecond), chromedp.FullScreenshot(&png, 100))
		if err := os.WriteFile(filepath.Join(dir, name+"-"+scheme+".png"), png, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// fits reports what of a page is wider than its window, also with letters of twice the size.
func fits(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	for _, size := range []string{"100%", "200%"} {
		var over []string
		act(t, ctx, chromedp.Evaluate(`document.documentElement.style.fontSize = "`+size+`"`, nil), chromedp.Sleep(200*time.Millisecond),
			chromedp.Evaluate(`(() => {
				const wide = document.documentElement.clientWidth;
				if (document.documentElement.scrollWidth <= wide) return [];
				return [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > wide + 0.5 && !e.parentElement.closest(".scroll")).map((e) => e.tagName + "." + e.className).slice(0, 5);
			})()`, &over))
		if len(over) > 0 {
			t.Errorf("%s, letters of %s: the page scrolls sideways: %q", name, size, over)
		}
	}
	act(t, ctx, chromedp.Evaluate(`document.documentElement.style.fontSize = ""`, nil))
}

// In a browser a run is seen while it trains: losses, samples by epoch and codes; it is paused and stopped with the token, and not without.
func TestLivePageInChromium(t *testing.T) {
	if os.Getenv("CONVAE_TEST_CHROMIUM") == "" {
		t.Skip("it needs Chromium: set CONVAE_TEST_CHROMIUM=1")
	}
	dir := t.TempDir()
	for k, rate := range []string{"0.001", "0.003"} {
		p := program(t, "train", "vae", "--limit", "300", "--epochs", "3", "--learning-rate", rate, "--out", filepath.Join(dir, fmt.Sprintf("before-%d", k+1)), "--device", "cpu")
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		if status := p.wait(); status != 0 {
			t.Fatalf("status %d: %s", status, p.stderr.String())
		}
	}
	run := filepath.Join(dir, "now")
	train := program(t, "train", "denoiser", "--limit", "600", "--epochs", "5000", "--out", run, "--device", "cpu", "--serve", "127.0.0.1:0")
	if err := train.Start(); err != nil {
		t.Fatal(err)
	}
	train.await(t, "epoch=2 images_per_s")
	found := regexp.MustCompile(`url=(http://\S+)#token=(\S+)`).FindStringSubmatch(train.stderr.String())
	if found == nil {
		t.Fatalf("no address of the page:\n%s", train.stderr.String())
	}
	url, token := found[1], found[2]

	ctx, console := browser(t, url, 1280, 900)
	until(t, ctx, `document.querySelectorAll("#curves path").length >= 3`)
	until(t, ctx, `document.querySelector(".card img").naturalWidth > 100 && document.querySelectorAll(".latent circle").length >= 100`)
	var before string
	act(t, ctx, chromedp.Evaluate(`document.querySelector("progress").value + document.querySelector(".facts").innerText`, &before))
	until(t, ctx, fmt.Sprintf(`document.querySelector("progress").value + document.querySelector(".facts").innerText !== %q`, before)) // it comes by itself
	until(t, ctx, `document.querySelector(".card input[type=range]").max >= 2`)
	fits(t, ctx, "1280 pixels")
	screenshot(t, ctx, "desktop-running")

	// The slider shows another epoch, by keys too.
	var newest, shown string
	src := `document.querySelector(".card img").src`
	act(t, ctx, chromedp.Evaluate(src, &newest), chromedp.SendKeys(`.card input[type=range]`, kb.Home))
	until(t, ctx, src+`.endsWith("/samples/1") && document.querySelector(".card img").complete && document.querySelector("output").textContent === "1"`)
	act(t, ctx, chromedp.Evaluate(src, &shown))
	if shown == newest {
		t.Errorf("the slider leaves the picture %s", shown)
	}
	until(t, ctx, `document.querySelector(".latent figcaption").textContent.includes("epoch 1,")`)
	act(t, ctx, chromedp.SendKeys(`.card input[type=range]`, kb.ArrowRight))
	until(t, ctx, src+`.endsWith("/samples/2")`)

	// A button asks for the token, takes no other, and remembers it.
	state := `document.querySelector(".state").textContent`
	act(t, ctx, chromedp.Click(".pause"), chromedp.WaitVisible("#ask-value"), chromedp.SendKeys("#ask-value", "another token"+kb.Enter))
	until(t, ctx, `document.querySelector("#ask-error").textContent.includes("not the right one")`)
	screenshot(t, ctx, "desktop-token")
	act(t, ctx, chromedp.SendKeys("#ask-value", token+kb.Enter))
	until(t, ctx, state+` === "paused" && document.querySelector(".pause").textContent === "Go on"`)
	act(t, ctx, chromedp.Click(".log summary"))
	until(t, ctx, `document.querySelector(".log ol").innerText.includes("the run is paused")`)
	screenshot(t, ctx, "desktop-paused")
	act(t, ctx, chromedp.Click(".pause"))
	until(t, ctx, state+` === "running"`)

	// The same page on a phone.
	phone, phoneConsole := browser(t, url+"#token="+token, 360, 740)
	until(t, phone, `document.querySelectorAll(".latent circle").length >= 100`)
	fits(t, phone, "360 pixels")
	screenshot(t, phone, "phone-running")
	act(t, phone, chromedp.Click(".stop"), chromedp.WaitVisible("#ask-yes"))
	screenshot(t, phone, "phone-stop")
	act(t, phone, chromedp.Click("#ask-yes"))
	if status := train.wait(); status != interruptedStatus {
		t.Errorf("a run that the page stops ends with status %d, want %d:\n%s", status, interruptedStatus, train.stderr.String())
	}
	until(t, phone, `document.querySelector("#connection").textContent.startsWith("not connected")`)
	expected := func(said string) bool { // the wrong token, and the end of the program
		return strings.Contains(said, "401") || strings.Contains(said, "ERR_") || strings.Contains(said, "Failed to fetch")
	}
	for _, c := range []*complaints{console, phoneConsole} {
		if rest := slices.DeleteFunc(c.said, expected); len(rest) > 0 {
			t.Errorf("the console has errors: %q", rest)
		}
	}

	// Afterwards several runs are beside each other.
	serve := program(t, "serve", filepath.Join(dir, "before-1"), filepath.Join(dir, "before-2"), run, "--listen", "127.0.0.1:0")
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	var address string
	for deadline := time.Now().Add(20 * time.Second); address == ""; time.Sleep(10 * time.Millisecond) {
		if found := regexp.MustCompile(`http://\S+`).FindString(serve.stderr.String()); found != "" {
			address = found
		} else if time.Now().After(deadline) {
			t.Fatal("serve does not say where it is")
		}
	}
	ctx, console = browser(t, address+"?run=before-1&run=before-2", 1280, 900)
	until(t, ctx, `document.querySelectorAll(".card").length === 2 && document.querySelectorAll("#diff tbody tr").length > 0`)
	until(t, ctx, `[...document.querySelectorAll(".card img")].every((i) => i.naturalWidth > 100) && document.querySelectorAll(".latent circle").length >= 200`)
	var difference string
	act(t, ctx, chromedp.Text("#diff tbody", &difference))
	if !strings.Contains(difference, "training.optimizer.learning_rate") || !strings.Contains(difference, "0.003") {
		t.Errorf("the difference of the configurations is %q", difference)
	}
	screenshot(t, ctx, "desktop-two")
	act(t, ctx, chromedp.Click(`#runs input[data-id="now"]`))
	until(t, ctx, `document.querySelectorAll(".card").length === 3 && [...document.querySelectorAll(".state")].some((s) => s.textContent === "stopped")`)
	if len(console.said) > 0 {
		t.Errorf("the console has errors: %q", console.said)
	}
	phone, _ = browser(t, address+"?run=before-1&run=before-2", 360, 740)
	until(t, phone, `document.querySelectorAll("#diff tbody tr").length > 0 && document.querySelectorAll(".latent circle").length >= 200`)
	fits(t, phone, "360 pixels, two runs")
	screenshot(t, phone, "phone-two")
}
