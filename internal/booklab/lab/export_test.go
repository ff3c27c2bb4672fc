package lab

// Folder is where the logs are.
func (l *Lab) Folder() string { return l.folder.dir }
