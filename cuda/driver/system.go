//go:build cuda && linux

package driver

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/convae/convae/cuda/driver/internal/libcuda"
)

// library is the driver's user-space library, which is opened when it is first asked for.
var library = "libcuda.so.1"

// minDriver is the CUDA version that a driver must support: 11.4 brought cuGraphInstantiateWithFlags.
const minDriver = 11040

var opening sync.Mutex

// System returns the machine's CUDA driver. The error says why there is none, and what to do about it.
func System() (Driver, error) {
	opening.Lock()
	defer opening.Unlock()
	if !libcuda.Filled() {
		if err := libcuda.Open(library); err != nil {
			return nil, fmt.Errorf("no NVIDIA driver (%w): install it; a container needs \"--gpus all\" and the NVIDIA container toolkit", err)
		}
	}
	if code := libcuda.Init(); code != 0 {
		err := newError("cuInit", code)
		if code == noDevice {
			return nil, hidden(err)
		}
		return nil, err
	}
	return cuDriver{}, nil
}

// hidden adds the variable that hides devices from the driver to an error that says that there is none.
func hidden(err error) error {
	if v, ok := os.LookupEnv("CUDA_VISIBLE_DEVICES"); ok {
		return fmt.Errorf("CUDA_VISIBLE_DEVICES is %q, which may hide them: %w", v, err)
	}
	return err
}

// newError describes a CUresult in the driver's words.
func newError(call string, code int) *Error {
	return &Error{Call: call, Code: code, Name: libcuda.ErrorName(code), Text: libcuda.ErrorString(code), Advice: advice(call, code)}
}

// supported reports a driver that is too old.
func supported(version int) error {
	if version >= minDriver {
		return nil
	}
	return fmt.Errorf("the NVIDIA driver supports CUDA %d.%d and convae needs %d.%d or later: %s", version/1000, version%1000/10, minDriver/1000, minDriver%1000/10, driverAdvice)
}

// withLog adds what the compiler said.
func withLog(err error, log []byte) error {
	if err == nil {
		return nil
	}
	text, _, _ := strings.Cut(string(log), "\x00")
	if text = strings.TrimSpace(text); text == "" {
		return err
	}
	return fmt.Errorf("%w\n%s", err, text)
}

var errNoDevice = errors.New("the NVIDIA driver lists no device: " + advice("cuDeviceGetCount", noDevice))
