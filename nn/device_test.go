package nn

import (
	"strings"
	"testing"
)

func TestOpen(t *testing.T) {
	for name, want := range map[string]struct {
		device string
		reason bool
	}{"auto": {"cpu", true}, "cpu": {"cpu", false}, "sim": {"sim", false}} {
		dev, reason, err := Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if dev.Name() != want.device || (reason != "") != want.reason {
			t.Errorf("Open(%q) is %s because %q", name, dev.Name(), reason)
		}
		dev.Close()
	}
	if _, _, err := Open("tpu"); err == nil || !strings.Contains(err.Error(), `device is "tpu", want auto, cpu or sim`) {
		t.Errorf("error %v", err)
	}
}
