package dataset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// CacheDir returns the folder for downloaded data sets: convae in the user's
// cache folder.
func CacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no folder for downloads: %w", err)
	}
	return filepath.Join(dir, "convae"), nil
}

// Fetch downloads the public data set of that name, mnist or fashion-mnist;
// see [Source.Fetch].
func Fetch(ctx context.Context, name, cacheDir string, progress func(file string, done, total int64)) (dir string, err error) {
	var known []string
	for _, s := range sources {
		if s.Name == name {
			return s.Fetch(ctx, cacheDir, progress)
		}
		known = append(known, s.Name)
	}
	return "", fmt.Errorf("no data set %q to download, want %s", name, strings.Join(known, " or "))
}

// Fetch sees to it that cacheDir/Name holds the files of s, whole, and
// returns that folder. An empty cacheDir stands for [CacheDir]. Files that
// are there and right are kept; others are downloaded from the first mirror
// that serves them right, going on from where a broken download ended. A file
// gets its name only when its checksum has been found right.
//
// If progress is not nil, it is called now and then, by the calling
// goroutine, with the bytes of a file that are there and the bytes it has in
// all, -1 if unknown.
func (s Source) Fetch(ctx context.Context, cacheDir string, progress func(file string, done, total int64)) (dir string, err error) {
	if cacheDir == "" {
		if cacheDir, err = CacheDir(); err != nil {
			return "", err
		}
	}
	dir = filepath.Join(cacheDir, s.Name)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	for _, f := range s.Files {
		if err := s.fetchFile(ctx, f, dir, progress); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// fetchFile sees to it that dir holds f.
func (s Source) fetchFile(ctx context.Context, f File, dir string, progress func(file string, done, total int64)) error {
	path := filepath.Join(dir, f.Name)
	if f.verify(path) == nil {
		return nil
	}
	report := func(done, total int64) {
		if progress != nil {
			progress(f.Name, done, total)
		}
	}
	var failed error
	for _, mirror := range s.Mirrors {
		url := mirror + f.Name
		err := f.fetchFrom(ctx, url, path, report)
		if err == nil {
			s.removeParts(f, path)
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("dataset %s: download of %s: %w", s.Name, url, context.Cause(ctx))
		}
		if err = fmt.Errorf("%s: %w", url, err); failed != nil {
			err = fmt.Errorf("%w; %w", failed, err)
		}
		failed = err
	}
	return fmt.Errorf("dataset %s: no mirror gave %s: %w; to do without a download, put %s into a folder and name it with --data-dir", s.Name, f.Name, failed, s.fileNames())
}

// fetchFrom downloads f from url to path, by way of a part file.
func (f File) fetchFrom(ctx context.Context, url, path string, report func(done, total int64)) error {
	part := partPath(path, url)
	if err := download(ctx, url, part, stallLimit, report); err != nil {
		return err
	}
	if err := f.verify(part); err != nil {
		os.Remove(part) // going on from it would be of no use
		return err
	}
	return os.Rename(part, path)
}

// partPath returns where the download of path from url grows. Each mirror has
// a part file of its own, for the bytes that it serves may be others.
func partPath(path, url string) string {
	sum := sha256.Sum256([]byte(url))
	return path + "." + hex.EncodeToString(sum[:4]) + ".part"
}

// removeParts removes what broken downloads of f have left.
func (s Source) removeParts(f File, path string) {
	for _, mirror := range s.Mirrors {
		os.Remove(partPath(path, mirror+f.Name))
	}
}

func (s Source) fileNames() string {
	var names []string
	for _, f := range s.Files {
		names = append(names, f.Name)
	}
	return strings.Join(names, ", ")
}

// verify returns an error unless the file at path has the checksum of f.
func (f File) verify(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	kind, hash, content := "SHA-256", sha256.New(), io.Reader(file)
	if !f.AsServed {
		kind = "SHA-256 of the unpacked content"
		if content, err = unpack(file); err != nil {
			return err
		}
	}
	// The limit is for a tiny file that unpacks to no end.
	if _, err := io.Copy(hash, io.LimitReader(content, maxIDXBytes)); err != nil {
		return err
	}
	if found := hex.EncodeToString(hash.Sum(nil)); found != f.SHA256 {
		return fmt.Errorf("%s is %s, want %s", kind, found, f.SHA256)
	}
	return nil
}
