package main

import (
	"embed"
	"io/fs"
)

//go:embed page
var pageFiles embed.FS

// page returns the page's files, index.html and what it refers to.
func page() fs.FS {
	files, err := fs.Sub(pageFiles, "page")
	if err != nil {
		panic(err) // The folder is part of this program.
	}
	return files
}
