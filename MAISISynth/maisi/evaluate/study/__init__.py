"""The downstream study: is a segmenter that also sees synthetic cases better on real ones?"""
