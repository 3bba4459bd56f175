// Package picture reads and writes images as training sees them, and draws what
// a person looks at: sheets of images, loss curves, scatter plots and histograms.
package picture
