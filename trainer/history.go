package trainer

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strconv"

	"github.com/convae/convae/nn/regularfile"
	"github.com/convae/convae/trainer/atomicfile"
	"github.com/convae/convae/trainer/metric"
)

// HistoryFile is the history of a run in its folder.
const HistoryFile = "history.json"

const (
	historyCSV  = "history.csv"
	historyJSON = HistoryFile
)

// Epoch is what is known of a finished epoch.
type Epoch struct {
	Epoch         int     `json:"epoch"` // from 1
	Step          int     `json:"step"`  // optimiser steps so far
	Loss          float64 `json:"loss"`  // mean over the training samples, as the weights were at each
	ValLoss       float64 `json:"val_loss"`
	ValBCE        float64 `json:"val_bce"` // 0 where values are outside [0,1]
	ValMSE        float64 `json:"val_mse"`
	ValMAE        float64 `json:"val_mae"`
	ValMaxError   float64 `json:"val_max_error"` // largest absolute error of any value
	ValPSNR       float64 `json:"val_psnr"`      // dB; 0, as SSIM, for samples that are no images
	ValSSIM       float64 `json:"val_ssim"`
	ValKL         float64 `json:"val_kl"` // divergence of a variational model's codes, nats a sample; else 0
	ValActive     int     `json:"val_active_units"`
	ValPerplexity float64 `json:"val_perplexity,omitempty"` // of the vectors of a codebook that are chosen
	LearningRate  float64 `json:"learning_rate"`
	Seconds       float64 `json:"seconds"`           // of training, without validation
	Rate          float64 `json:"images_per_second"` // in training
	Precision     string  `json:"precision"`         // that was computed in
	// Changes of the configuration since the epoch before, as "training.batch: 32 -> 64; training.loss: bce -> mse".
	Changes string `json:"changes,omitempty"`
}

func (e *Epoch) setValidation(v metric.Values) {
	e.ValBCE, e.ValMSE, e.ValMAE, e.ValMaxError, e.ValPSNR, e.ValSSIM = v.BCE, v.MSE, v.MAE, v.MaxAbs, v.PSNR, v.SSIM
}

var historyColumns = []string{"epoch", "step", "loss", "val_loss", "val_bce", "val_mse", "val_mae", "val_max_error", "val_psnr", "val_ssim", "val_kl", "val_active_units", "val_perplexity", "learning_rate", "precision", "seconds", "images_per_second", "changes"}

func (e Epoch) row() []string {
	f := func(v float64) string { return strconv.FormatFloat(v, 'g', 8, 64) }
	return []string{strconv.Itoa(e.Epoch), strconv.Itoa(e.Step), f(e.Loss), f(e.ValLoss), f(e.ValBCE), f(e.ValMSE), f(e.ValMAE), f(e.ValMaxError), f(e.ValPSNR), f(e.ValSSIM), f(e.ValKL), strconv.Itoa(e.ValActive),
		f(e.ValPerplexity), f(e.LearningRate), e.Precision, strconv.FormatFloat(e.Seconds, 'f', 2, 64), strconv.FormatFloat(e.Rate, 'f', 1, 64), e.Changes}
}

// writeHistory writes history.csv and history.json.
func writeHistory(dir string, epochs []Epoch) error {
	err := atomicfile.Write(filepath.Join(dir, historyCSV), func(w io.Writer) error {
		c := csv.NewWriter(w)
		if err := c.Write(historyColumns); err != nil {
			return err
		}
		for _, e := range epochs {
			if err := c.Write(e.row()); err != nil {
				return err
			}
		}
		c.Flush()
		return c.Error()
	})
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, historyJSON), func(w io.Writer) error {
		data, err := json.MarshalIndent(jsonEpochs(epochs), "", "  ")
		if err != nil {
			return fmt.Errorf("history: %w", err)
		}
		_, err = w.Write(append(data, '\n'))
		return err
	})
}

// ReadHistory reads the history of the run in a folder: an empty one if training ended before its first validation.
func ReadHistory(dir string) ([]Epoch, error) {
	path := filepath.Join(dir, HistoryFile)
	f, err := regularfile.Open(path)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	defer f.Close()
	return DecodeHistory(f, path)
}

// DecodeHistory reads a history from what is called path in errors.
func DecodeHistory(r io.Reader, path string) ([]Epoch, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	var epochs []Epoch
	if err := json.Unmarshal(data, &epochs); err != nil {
		return nil, fmt.Errorf("history: %s is not a list of epochs as training writes it: %w", path, err)
	}
	return epochs, nil
}

func jsonEpochs(epochs []Epoch) []Epoch {
	if epochs == nil {
		return []Epoch{}
	}
	return epochs
}
