package hub

import "context"

// Datasets gives data.Open the data sets of a hub: it is a data.Hub. Kind, Revision and Files of the Options are set by its methods.
type Datasets struct{ Options Options }

// Files lists a data set's files.
func (d Datasets) Files(ctx context.Context, id, revision string) ([]string, error) {
	o := d.Options
	o.Kind, o.Revision = Dataset, revision
	return Files(ctx, id, o)
}

// Fetch downloads the named files and returns their folder.
func (d Datasets) Fetch(ctx context.Context, id, revision string, files []string) (string, error) {
	o := d.Options
	o.Kind, o.Revision, o.Files = Dataset, revision, escapeAll(files)
	return Download(ctx, id, o)
}

// escapeAll makes patterns that match the names alone.
func escapeAll(names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		var b []byte
		for _, c := range []byte(name) {
			if c == '*' || c == '?' || c == '[' || c == '\\' {
				b = append(b, '\\')
			}
			b = append(b, c)
		}
		out[i] = string(b)
	}
	return out
}
