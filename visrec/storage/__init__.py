"""Storage: a bucket is a Store, and a Store is a folder or an S3-compatible bucket behind one protocol."""
