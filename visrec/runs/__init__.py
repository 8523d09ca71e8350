"""A run is one training: a folder of its own that says what was done, how far it is and what came out.

`record` reads and writes that folder, `status` is the small value that says where the run stands, `queue`
lets one training at a time have the machine, `reporter` is how the training process tells the world, and
`jobs` starts, cancels and resumes such processes. Nothing here knows TensorFlow or a web page.
"""
