"""The plugins that come with tunewatch, on the same contract as anybody's."""
