// Package trainer trains a model on a data set and keeps what comes of it: the epochs' metrics, checkpoints to go on
// from, the weights, and pictures to look at. A run is a folder:
//
//	config.yaml          the model and how it is trained
//	history.csv, .json   the metrics of each epoch
//	model.safetensors    the weights, as PyTorch names and lays them out
//	best.safetensors     the weights of the best epoch so far, when it is kept
//	checkpoints/         the last two states to resume from
//	samples.png          clean, noisy and denoised test images, if the samples are images
//	loss.png             the loss of each epoch
package trainer
