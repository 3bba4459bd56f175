package nn

import (
	"strings"
	"testing"
)

func TestOpen(t *testing.T) {
	for name, wantReason := range map[string]bool{"auto": true, "cpu": false} {
		dev, reason, err := Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if dev.Name() != "cpu" || (reason != "") != wantReason {
			t.Errorf("Open(%q) is %s because %q", name, dev.Name(), reason)
		}
		dev.Close()
	}
	if _, _, err := Open("tpu"); err == nil || !strings.Contains(err.Error(), `device is "tpu", want auto or cpu`) {
		t.Errorf("error %v", err)
	}
}
