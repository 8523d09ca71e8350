"""Why a model answers what it answers: superpixel weights for one image, whether to believe them, and maps by group."""
