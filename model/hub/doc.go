// Package hub brings models and data sets of a Hugging Face hub onto this machine, into the cache that Python's huggingface_hub
// keeps: what one has downloaded the other finds, and both may run at the same time.
//
// [Resolve] is what a loader calls: a folder stays as it is, without any look at the network, and an id of the form "org/name" is
// downloaded. Every file is held against the hash that the hub lists (SHA-256, or git's SHA-1 of small files) before it gets its
// name in the cache. Pickled weights are never fetched. The layout follows the page
// https://huggingface.co/docs/huggingface_hub/guides/manage-cache.
//
// The package reads no environment and prints nothing: [FromEnviron] gives the Options that Python would use, for commands.
package hub
