"""Turn the user's pictures into uint8 RGB pixels of the network's input size.

``sources`` unpacks containers, ``decoding`` reads files and PIL images, ``high_depth`` scales
files of more than 8 bits, ``arrays`` reads arrays and tensors, ``preprocessing`` resizes and
crops, ``augmentation`` changes pictures at random, ``reading`` does all of this in threads,
batch by batch, and ``folders`` lists the pictures on disk.
"""
