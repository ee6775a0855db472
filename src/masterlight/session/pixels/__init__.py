"""What a plan reads of pixels, a little of each: which frames are copies, which are flats whatever they are called."""
