"""What the user gave, as uint8 RGB pixels of the size a network wants.

``sources`` unpacks containers, ``decoding`` reads files and PIL images, ``arrays``
reads arrays and tensors, ``preprocessing`` resizes and crops, ``reading`` does all
of it batch by batch in threads, ``folders`` lists pictures on disk.
"""
