"""Known silent bugs, injected into a program that is right: would the proof have noticed?"""
