package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"
)

const (
	// stallLimit is how long a server may send nothing.
	stallLimit = 60 * time.Second

	// maxDownload is the most bytes that are accepted from a server.
	maxDownload = 256 << 20
)

// download appends to the file part what it lacks of the content at address,
// or starts it again if the server cannot or will not send just that. What
// has arrived is kept when there is an error. A server that sends nothing for
// the time of stall has failed.
func download(ctx context.Context, address, part string, stall time.Duration, report func(done, total int64)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(stall, func() {
		cancel(fmt.Errorf("the server sent nothing for %v", stall))
	})
	defer watch.Stop()

	err := downloadOnce(ctx, address, part, func(done, total int64) {
		watch.Reset(stall)
		report(done, total)
	})
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func downloadOnce(ctx context.Context, address, part string, report func(done, total int64)) (err error) {
	var have int64
	if info, err := os.Stat(part); err == nil {
		have = info.Size()
	}
	response, err := request(ctx, address, have)
	if err != nil {
		return err
	}
	if response.StatusCode == http.StatusRequestedRangeNotSatisfiable && have > 0 {
		// There is no more than we have, or not even that.
		response.Body.Close()
		have = 0
		if response, err = request(ctx, address, have); err != nil {
			return err
		}
	}
	defer response.Body.Close()

	flags := os.O_CREATE | os.O_WRONLY
	switch response.StatusCode {
	case http.StatusPartialContent:
		var start int64
		field := response.Header.Get("Content-Range")
		if n, _ := fmt.Sscanf(field, "bytes %d-", &start); n != 1 || start != have {
			return fmt.Errorf("asked for the bytes from %d on, Content-Range of the answer is %q", have, field)
		}
		flags |= os.O_APPEND
	case http.StatusOK:
		have = 0
		flags |= os.O_TRUNC
	default:
		return fmt.Errorf("HTTP status is %s, want 200 OK", response.Status)
	}
	total := int64(-1)
	if response.ContentLength >= 0 {
		total = have + response.ContentLength
	}

	file, err := os.OpenFile(part, flags, 0o666)
	if err != nil {
		return err
	}
	defer func() {
		if e := file.Close(); err == nil {
			err = e
		}
	}()
	report(have, total)
	buffer := make([]byte, 64<<10)
	for {
		n, readErr := response.Body.Read(buffer)
		if _, err := file.Write(buffer[:n]); err != nil {
			return err
		}
		if have += int64(n); have > maxDownload {
			os.Remove(part) // going on from it would be of no use
			return fmt.Errorf("more than the %d bytes that are accepted", maxDownload)
		}
		if n > 0 {
			report(have, total)
		}
		switch {
		case readErr == io.EOF:
			return nil
		case errors.Is(readErr, io.ErrUnexpectedEOF):
			return fmt.Errorf("connection lost: want %d bytes, found %d", total, have)
		case readErr != nil:
			return readErr
		}
	}
}

// request asks for the content at address from byte have on.
func request(ctx context.Context, address string, have int64) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	// Without this the answers to the two kinds of request could be encoded
	// differently, and not fit together.
	r.Header.Set("Accept-Encoding", "identity")
	if have > 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	response, err := http.DefaultClient.Do(r)
	var detail *url.Error
	if errors.As(err, &detail) {
		err = detail.Err // the caller names the address
	}
	return response, err
}
