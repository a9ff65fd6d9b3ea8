"""The granular sub-tasks: each cuts Samples and grades Replies."""
