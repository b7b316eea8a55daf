// Package serve answers the OpenAI chat API from a policy, reasoning and answer apart.
package serve
