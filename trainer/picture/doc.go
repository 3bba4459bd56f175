// Package picture reads and writes images as training sees them, and draws what
// a person looks at: sheets of images and loss curves.
package picture
