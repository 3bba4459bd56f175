package device

import (
	"strings"
	"testing"
)

// autoDevice is what auto opens where the tests run.
var autoDevice = "cpu"

func TestOpen(t *testing.T) {
	for name, want := range map[string]struct {
		device string
		reason bool
	}{"auto": {autoDevice, true}, "cpu": {"cpu", false}, "sim": {"sim", false}, "sim:2": {"sim:2", false}} {
		dev, reason, err := Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if dev.Name() != want.device || (reason != "") != want.reason {
			t.Errorf("Open(%q) is %s because %q", name, dev.Name(), reason)
		}
		dev.Close()
	}
	for name, want := range map[string]string{
		"tpu":     `device is "tpu", want auto, cuda, cuda:1, cuda:0,cuda:1, all, cpu, sim or sim:2`,
		"cuda:":   `device is "cuda:", want cuda:0`,
		"sim:0":   `device is "sim:0", want sim:1 to sim:64`,
		"sim:x":   `device is "sim:x", want sim:1`,
		"cpu:2":   `device is "cpu:2", want auto`,
		"cuda:-1": `device is "cuda:-1", want cuda:0`,

		"cuda:0,cuda:x": `device is "cuda:0,cuda:x", want cuda:0`,
		"cuda:0,cpu":    `device is "cuda:0,cpu", want cuda:0, cuda:1 and so on, or several of these with commas between them`,
		"cuda,cuda:0":   `device is "cuda,cuda:0", which names cuda:0 twice`,
	} {
		if dev, _, err := Open(name); dev != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%q): %v, error %v, want %q", name, dev, err, want)
		}
	}
}
